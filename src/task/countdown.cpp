// countdown: reach a target with each number exactly once. Level n has n + 1 numbers. Option: max (largest number, 20).
// Made backwards from a random expression, so each has a solution; divisions come out even and nothing falls below 1.
#include "src/reward/countdown.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "src/task/task_list.hpp"
#include "src/task/wording.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kLargestValue = 999;

struct Term {
  std::int64_t value;
  std::string text;  ///< a number, or an operation without parentheses around it
};

std::string as_operand(const Term& term) {
  return term.text.find_first_of("+-*/") == std::string::npos ? term.text : "(" + term.text + ")";
}

/// Signs that may stand between a and b.
std::string possible_signs(std::int64_t a, std::int64_t b) {
  std::string signs;
  if (a + b <= kLargestValue) signs += '+';
  if (a > b) signs += '-';
  if (a > 1 && b > 1 && a * b <= kLargestValue) signs += '*';
  if (b > 1 && a % b == 0) signs += '/';
  return signs;
}

std::int64_t step_value(std::int64_t a, char sign, std::int64_t b) {
  return sign == '+' ? a + b : sign == '-' ? a - b : sign == '*' ? a * b : a / b;
}

class Countdown final : public GeneratedTask {
 public:
  explicit Countdown(SpecOptions& options)
      : GeneratedTask("countdown", options, 5), max_(options.integer("max", 20, 2, 100)) {}

 private:
  /// `worked`: the steps, then the whole expression, separated by blanks.
  Problem draw(Draw& draw, Wording wording) const override {
    std::vector<Term> terms;
    CountdownProblem countdown;
    for (int i = 0; i <= level(); ++i) {
      countdown.numbers.push_back(draw.between(1, max_));
      terms.push_back({countdown.numbers.back(), std::to_string(countdown.numbers.back())});
    }
    std::string steps;
    while (terms.size() > 1) {
      draw.shuffle(terms);
      const Term right = terms.back();
      terms.pop_back();
      Term& left = terms.back();
      const std::string signs = possible_signs(left.value, right.value);
      if (signs.empty()) return this->draw(draw, wording);  // too large to go on: begin anew
      const char sign = draw.one_of(signs);
      const std::int64_t result = step_value(left.value, sign, right.value);
      const std::string step = fmt::format("{}{}{}={}", left.value, sign, right.value, result);
      left = {result, as_operand(left) + sign + as_operand(right)};
      steps += (steps.empty() ? "" : " ") + step;
    }
    countdown.target = terms[0].value;
    Problem problem;
    problem.worked = steps + " " + terms[0].text;
    problem.answer = countdown_text(countdown);
    problem.reward_name = "countdown";
    problem.prompt = fmt::format(
        fmt::runtime(
            in_words(wording, "Make {} from {}. Use each number once.", "用{1}凑出{0}，每个数用一次。", "{}:{}")),
        countdown.target, enumeration(wording, split_words(fmt::format("{}", fmt::join(countdown.numbers, " ")))));
    std::sort(countdown.numbers.begin(), countdown.numbers.end());
    problem.form = countdown_text(countdown);
    return problem;
  }

  Solution work_out(const Problem& problem, Wording wording, Draw* slip) const override {
    std::vector<std::string> steps = split_words(problem.worked);
    std::string expression = steps.back();
    steps.pop_back();
    if (slip != nullptr) {
      // Another sign in the last step, and the target claimed all the same.
      const auto countdown = parse_countdown(problem.answer);
      const std::size_t step_sign = steps.back().find_first_of("+-*/"), sign = outermost_sign(expression);
      std::string others;
      for (const char other : {'+', '-', '*'}) {
        std::string changed = expression;
        changed[sign] = other;
        if (!reaches_target(changed, *countdown)) others += other;
      }
      expression[sign] = steps.back()[step_sign] = slip->one_of(others);
    }
    return {calculation(wording, steps), expression};
  }

  /// Place of the sign outside all parentheses.
  static std::size_t outermost_sign(std::string_view expression) {
    int depth = 0;
    for (std::size_t i = 0; i < expression.size(); ++i) {
      if (expression[i] == '(') ++depth;
      if (expression[i] == ')') --depth;
      if (depth == 0 && std::string_view("+-*/").find(expression[i]) != std::string_view::npos) return i;
    }
    return 0;
  }

  const std::int64_t max_;
};

}  // namespace

std::unique_ptr<Task> make_countdown(SpecOptions& options) { return std::make_unique<Countdown>(options); }

}  // namespace athanor
