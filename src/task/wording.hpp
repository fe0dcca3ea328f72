// Sentences that tasks share, in English, Chinese, or signs alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/task/generated_task.hpp"

namespace athanor {

/// The words of a problem, from its language.
Wording wording_of(const Problem& problem);
/// The one of three texts that is in the wanted words.
inline std::string_view in_words(Wording wording, std::string_view english, std::string_view chinese,
                                 std::string_view symbols) {
  return wording == Wording::english ? english : wording == Wording::chinese ? chinese : symbols;
}

/// "First, 12+7=19. Then 19-30=-11.", "先算12+7=19。再算19-30=-11。" or "12+7=19;19-30=-11".
std::string calculation(Wording wording, const std::vector<std::string>& steps);

/// Parts separated as the wording does: ", ", "、" or ",".
std::string enumeration(Wording wording, const std::vector<std::string>& parts);

/// The sentences of a text of either language, each with its full stop ("." before a blank or at the end, "。").
std::vector<std::string> sentences_of(std::string_view text);
/// In a row, with a blank between them but behind a Chinese full stop.
std::string joined_sentences(const std::vector<std::string>& sentences);

/// The words of `text` between blanks.
std::vector<std::string> split_words(std::string_view text);

/// A near miss: off by a little, never the value itself.
std::int64_t missed_value(std::int64_t value, Draw& slip);

}  // namespace athanor
