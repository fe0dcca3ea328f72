// words: what to do with the letters of a word: reverse it, count one, name the n-th. English: made-up words of n + 1
// syllables; Chinese: rows of n + 2 characters.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/task/task_list.hpp"
#include "src/task/wording.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

constexpr std::string_view kConsonants = "bdfgklmnprstvz", kVowels = "aeiou";
constexpr std::array<std::string_view, 40> kCharacters{"天", "地", "人", "大", "小", "上", "下", "日", "月", "水",
                                                       "火", "山", "木", "土", "石", "田", "手", "口", "目", "耳",
                                                       "心", "牛", "马", "羊", "鱼", "鸟", "花", "草", "风", "云",
                                                       "雨", "雪", "春", "夏", "秋", "冬", "东", "西", "南", "北"};

std::vector<std::string> letters_of(std::string_view word) {
  std::vector<std::string> letters;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t length = utf8_step(word, at).length;
    letters.emplace_back(word.substr(at, length));
    at += length;
  }
  return letters;
}

std::string joined(const std::vector<std::string>& letters) {
  std::string word;
  for (const std::string& letter : letters) word += letter;
  return word;
}

/// Another letter of the same writing.
std::string other_letter(const std::string& letter, Draw& slip) {
  for (;;) {
    const std::string other = letter.size() > 1 ? std::string(slip.one_of(kCharacters))
                                                : std::string(1, slip.one_of(std::string_view("abdefgiklmnoprstuvz")));
    if (other != letter) return other;
  }
}

class Words final : public GeneratedTask {
 public:
  explicit Words(SpecOptions& options) : GeneratedTask("words", options, 6) {}

 private:
  Problem draw(Draw& draw, Wording wording) const override {
    static constexpr std::array<std::string_view, 3> kKinds{"reverse", "count", "nth"};
    const std::string kind(draw.one_of(kKinds));
    std::string word;
    if (wording == Wording::chinese)
      for (int i = 0; i < level() + 2; ++i) word += draw.one_of(kCharacters);
    else
      for (int i = 0; i <= level(); ++i) {
        word += draw.one_of(kConsonants);
        word += draw.one_of(kVowels);
      }
    const std::vector<std::string> letters = letters_of(word);
    const std::string wanted = draw.chance(0.8) ? draw.one_of(letters) : other_letter(letters[0], draw);
    const std::int64_t place = draw.between(1, std::ssize(letters));
    Problem problem;
    problem.form = kind == "reverse" ? fmt::format("reverse {}", word)
                   : kind == "count" ? fmt::format("count {} {}", word, wanted)
                                     : fmt::format("nth {} {}", word, place);
    problem.answer = work_out(problem, wording, nullptr).answer;
    problem.reward_name = "exact";
    problem.prompt =
        kind == "reverse"
            ? fmt::format(fmt::runtime(in_words(wording, "Spell {} backwards.", "把“{}”倒过来写。", "reverse {}")),
                          word)
        : kind == "count" ? fmt::format(fmt::runtime(in_words(wording, "How many letters {1} are in {0}?",
                                                              "“{0}”里有几个“{1}”？", "count {0} {1}")),
                                        word, wanted)
                          : fmt::format(fmt::runtime(in_words(wording, "What is letter number {1} of {0}?",
                                                              "“{0}”的第{1}个字是什么？", "letter {0} {1}")),
                                        word, place);
    return problem;
  }

  Solution work_out(const Problem& problem, Wording wording, Draw* slip) const override {
    const std::vector<std::string> words = split_words(problem.form);
    std::vector<std::string> letters = letters_of(words[1]);
    if (words[0] == "count") return count(letters, words[2], wording, slip);
    if (words[0] == "nth") return nth(letters, std::stoul(words[2]), wording, slip);
    const std::string given = enumeration(wording, letters);
    std::reverse(letters.begin(), letters.end());
    if (slip != nullptr) {
      std::string& letter = letters[static_cast<std::size_t>(slip->below(std::ssize(letters)))];
      letter = other_letter(letter, *slip);
    }
    const auto text =
        in_words(wording, "The letters are {}. From the back they are {}.", "各字是{}。倒过来是{}。", "{}|{}");
    return {fmt::format(fmt::runtime(text), given, enumeration(wording, letters)), joined(letters)};
  }

  static Solution count(const std::vector<std::string>& letters, const std::string& wanted, Wording wording,
                        Draw* slip) {
    const std::int64_t wrong_place = slip == nullptr ? -1 : slip->below(std::ssize(letters));
    std::vector<std::string> marks;
    std::int64_t total = 0;
    for (std::size_t i = 0; i < letters.size(); ++i) {
      const bool hit = (letters[i] == wanted) != (static_cast<std::int64_t>(i) == wrong_place);
      total += hit ? 1 : 0;
      marks.push_back(hit ? fmt::format("{}({})", letters[i], total) : letters[i]);
    }
    const auto text = in_words(wording, "Going through: {}. That makes {}.", "逐个数：{}。一共{}个。", "{}|{}");
    return {fmt::format(fmt::runtime(text), enumeration(wording, marks), total), std::to_string(total)};
  }

  static Solution nth(const std::vector<std::string>& letters, std::size_t place, Wording wording, Draw* slip) {
    std::vector<std::string> marks;
    for (std::size_t i = 0; i < place; ++i) marks.push_back(fmt::format("{} {}", i + 1, letters[i]));
    std::string answer = letters[place - 1];
    if (slip != nullptr) {
      answer = other_letter(answer, *slip);
      marks.back() = fmt::format("{} {}", place, answer);
    }
    const auto text = in_words(wording, "Counting: {}. So it is {}.", "逐个数：{}。所以是{}。", "{}|{}");
    return {fmt::format(fmt::runtime(text), enumeration(wording, marks), answer), answer};
  }
};

}  // namespace

std::unique_ptr<Task> make_words(SpecOptions& options) { return std::make_unique<Words>(options); }

}  // namespace athanor
