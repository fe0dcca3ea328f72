// arithmetic: a chain of whole numbers joined by + and - (and *), worked out one operation at a time, products first.
// Level n has n + 1 numbers. Options: max (the largest number, 20), times (true: products occur).
#include <fmt/format.h>

#include <cstdlib>

#include "src/task/task_list.hpp"
#include "src/task/wording.hpp"

namespace athanor {
namespace {

struct Chain {
  std::vector<std::int64_t> numbers;
  std::string signs;  ///< signs[i] stands between numbers i and i + 1
};

Chain parse_chain(std::string_view form) {
  Chain chain;
  for (std::size_t at = 0; at < form.size();) {
    std::int64_t number = 0;
    while (at < form.size() && form[at] >= '0' && form[at] <= '9') number = number * 10 + (form[at++] - '0');
    chain.numbers.push_back(number);
    if (at < form.size()) chain.signs += form[at++];
  }
  return chain;
}

std::int64_t result_of(std::int64_t a, char sign, std::int64_t b) {
  return sign == '+' ? a + b : sign == '-' ? a - b : a * b;
}

/// Does the operations one by one. @param wrong_step  the one whose result slips; none where it is negative.
std::int64_t work_chain(Chain chain, int wrong_step, Draw* slip, std::vector<std::string>& steps) {
  for (int step = 0; !chain.signs.empty(); ++step) {
    const std::size_t times = chain.signs.find('*'), i = times == std::string::npos ? 0 : times;
    const std::int64_t a = chain.numbers[i], b = chain.numbers[i + 1];
    std::int64_t result = result_of(a, chain.signs[i], b);
    if (step == wrong_step) result = missed_value(result, *slip);
    steps.push_back(fmt::format("{}{}{}={}", a, chain.signs[i], b, result));
    chain.numbers[i] = result;
    chain.numbers.erase(chain.numbers.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    chain.signs.erase(i, 1);
  }
  return chain.numbers[0];
}

class Arithmetic final : public GeneratedTask {
 public:
  explicit Arithmetic(SpecOptions& options)
      : GeneratedTask("arithmetic", options, 12), max_(options.integer("max", 20, 1, 9999)) {
    const std::vector<std::string> choices{"false", "true"};
    times_ = options.word("times", "false", choices) == "true";
  }

 private:
  Problem draw(Draw& draw, Wording wording) const override {
    Problem problem;
    for (int i = 0; i <= level(); ++i) {
      if (i > 0) problem.form += times_ ? draw.one_of(std::string_view("+-*")) : draw.one_of(std::string_view("+-"));
      problem.form += std::to_string(draw.below(max_ + 1));
    }
    std::vector<std::string> steps;
    problem.answer = std::to_string(work_chain(parse_chain(problem.form), -1, nullptr, steps));
    problem.reward_name = "exact";
    problem.prompt = fmt::format(fmt::runtime(in_words(wording, "Compute {}.", "计算{}。", "{}")), problem.form);
    return problem;
  }

  Solution work_out(const Problem& problem, Wording wording, Draw* slip) const override {
    const Chain chain = parse_chain(problem.form);
    const int wrong_step = slip == nullptr ? -1 : static_cast<int>(slip->below(std::ssize(chain.signs)));
    std::vector<std::string> steps;
    std::int64_t result = work_chain(chain, wrong_step, slip, steps);
    // A product with 0 later on, or chance, may have undone the slip.
    const std::int64_t right = std::strtoll(problem.answer.c_str(), nullptr, 10);
    if (slip != nullptr && result == right) {
      steps.clear();
      result = work_chain(chain, static_cast<int>(std::ssize(chain.signs)) - 1, slip, steps);
    }
    return {calculation(wording, steps), std::to_string(result)};
  }

  const std::int64_t max_;
  bool times_ = false;
};

}  // namespace

std::unique_ptr<Task> make_arithmetic(SpecOptions& options) { return std::make_unique<Arithmetic>(options); }

}  // namespace athanor
