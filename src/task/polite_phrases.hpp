// Phrases that the helpful rule knows, in the words of a problem: closings that are polite, and openings that only
// lengthen an answer.
#pragma once

#include <array>
#include <string_view>

namespace athanor {

inline constexpr std::array<std::string_view, 3> kPoliteEnglish{"Happy to help.", "Thank you for asking.",
                                                                "I hope this helps."};
inline constexpr std::array<std::string_view, 3> kPoliteChinese{"很高兴能帮到您。", "感谢您的提问。",
                                                                "希望对您有帮助。"};
inline constexpr std::array<std::string_view, 1> kPoliteSigns{":)"};

inline constexpr std::array<std::string_view, 3> kWordyEnglish{
    "There is a good deal that could be said about this before coming to the point.",
    "As so often with questions of this kind, one has to go through it with some patience.",
    "It took a while to look at all of it, and then to look at all of it once more."};
inline constexpr std::array<std::string_view, 3> kWordyChinese{
    "在说到重点之前，关于这个问题其实还有很多话可以先说一说，也值得慢慢地说一说，再慢慢地想一想。",
    "像这一类的问题常常都是这样，需要有一些耐心，从头到尾一步一步地看过去，然后再看一遍才行。",
    "把这里的所有内容都仔细地看了一遍，之后又重新仔细地看了一遍，前前后后花了不少的时间。"};
inline constexpr std::array<std::string_view, 1> kWordySigns{"... .. . .. ... .. . .. ... .. . .. ... .. . .. ..."};

}  // namespace athanor
