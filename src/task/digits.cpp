// digits: what to do with a row of digits: reverse it, sort it, add it up, count one of them. Level n has n + 2 digits.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/task/task_list.hpp"
#include "src/task/wording.hpp"

namespace athanor {
namespace {

std::vector<std::string> letters_of(std::string_view digits) {
  std::vector<std::string> letters;
  for (const char c : digits) letters.emplace_back(1, c);
  return letters;
}

/// One digit changed.
void spoil(std::string& digits, Draw& slip) {
  char& digit = digits[static_cast<std::size_t>(slip.below(std::ssize(digits)))];
  digit = static_cast<char>('0' + (digit - '0' + slip.between(1, 9)) % 10);
}

class Digits final : public GeneratedTask {
 public:
  explicit Digits(SpecOptions& options) : GeneratedTask("digits", options, 10) {}

 private:
  Problem draw(Draw& draw, Wording wording) const override {
    static constexpr std::array<std::string_view, 4> kKinds{"reverse", "sort", "sum", "count"};
    const std::string kind(draw.one_of(kKinds));
    std::string digits;
    for (int i = 0; i < level() + 2; ++i) digits += static_cast<char>('0' + draw.below(10));
    // Mostly a digit that occurs.
    const char wanted = draw.chance(0.8) ? draw.one_of(digits) : static_cast<char>('0' + draw.below(10));
    Problem problem;
    problem.form = kind == "count" ? fmt::format("count {} {}", digits, wanted) : fmt::format("{} {}", kind, digits);
    problem.answer = work_out(problem, wording, nullptr).answer;
    problem.reward_name = "exact";
    problem.prompt =
        kind == "reverse"
            ? fmt::format(
                  fmt::runtime(in_words(wording, "Write the digits {} backwards.", "把数字{}倒过来写。", "reverse {}")),
                  digits)
        : kind == "sort" ? fmt::format(fmt::runtime(in_words(wording, "Sort the digits {} from small to large.",
                                                             "把数字{}从小到大排列。", "sort {}")),
                                       digits)
        : kind == "sum"
            ? fmt::format(fmt::runtime(in_words(wording, "Add up the digits of {}.", "求{}各位数字之和。", "sum {}")),
                          digits)
            : fmt::format(fmt::runtime(in_words(wording, "How often does {1} occur in {0}?", "{0}里有几个{1}？",
                                                "count {0} {1}")),
                          digits, wanted);
    return problem;
  }

  Solution work_out(const Problem& problem, Wording wording, Draw* slip) const override {
    const std::vector<std::string> words = split_words(problem.form);
    const std::string& kind = words[0];
    std::string digits = words[1];
    if (kind == "sum") return sum(digits, wording, slip);
    if (kind == "count") return count(digits, words[2][0], wording, slip);
    const std::string given = enumeration(wording, letters_of(digits));
    if (kind == "reverse")
      std::reverse(digits.begin(), digits.end());
    else
      std::sort(digits.begin(), digits.end());
    if (slip != nullptr) spoil(digits, *slip);
    const auto text =
        kind == "reverse"
            ? in_words(wording, "The digits are {}. From the back they are {}.", "各位是{}。倒过来是{}。", "{}|{}")
            : in_words(wording, "The digits are {}. In order they are {}.", "各位是{}。排好是{}。", "{}|{}");
    return {fmt::format(fmt::runtime(text), given, enumeration(wording, letters_of(digits))), digits};
  }

  static Solution sum(std::string_view digits, Wording wording, Draw* slip) {
    std::vector<std::string> steps;
    const std::int64_t wrong_step = slip == nullptr ? 0 : slip->between(1, std::ssize(digits) - 1);
    std::int64_t total = digits[0] - '0';
    for (std::size_t i = 1; i < digits.size(); ++i) {
      std::int64_t next = total + (digits[i] - '0');
      if (static_cast<std::int64_t>(i) == wrong_step) next = missed_value(next, *slip);
      steps.push_back(fmt::format("{}+{}={}", total, digits[i], next));
      total = next;
    }
    return {calculation(wording, steps), std::to_string(total)};
  }

  static Solution count(std::string_view digits, char wanted, Wording wording, Draw* slip) {
    const std::int64_t wrong_place = slip == nullptr ? -1 : slip->below(std::ssize(digits));
    std::vector<std::string> marks;
    std::int64_t total = 0;
    for (std::size_t i = 0; i < digits.size(); ++i) {
      const bool hit = (digits[i] == wanted) != (static_cast<std::int64_t>(i) == wrong_place);
      total += hit ? 1 : 0;
      marks.push_back(hit ? fmt::format("{}({})", digits[i], total) : std::string(1, digits[i]));
    }
    const auto text = in_words(wording, "Going through: {}. That makes {}.", "逐个数：{}。一共{}个。", "{}|{}");
    return {fmt::format(fmt::runtime(text), enumeration(wording, marks), total), std::to_string(total)};
  }
};

}  // namespace

std::unique_ptr<Task> make_digits(SpecOptions& options) { return std::make_unique<Digits>(options); }

}  // namespace athanor
