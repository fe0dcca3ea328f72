// comparison: the largest or smallest of several numbers. Level n has n + 1 numbers; from level 3 on with decimals,
// some with one place and some with two (9.9 against 9.11).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "src/task/task_list.hpp"
#include "src/task/wording.hpp"

namespace athanor {
namespace {

/// In hundredths.
std::int64_t value_of(const std::string& number) { return std::llround(100.0 * std::strtod(number.c_str(), nullptr)); }

class Comparison final : public GeneratedTask {
 public:
  explicit Comparison(SpecOptions& options)
      : GeneratedTask("comparison", options, 8), max_(options.integer("max", 99, 20, 9999)) {}

 private:
  Problem draw(Draw& draw, Wording wording) const override {
    const bool largest = draw.chance(0.5);
    // Decimals near each other: whole parts from few numbers.
    const bool decimals = level() >= 3;
    const std::int64_t whole = draw.below(max_ - 2);
    std::vector<std::string> numbers;
    while (std::ssize(numbers) < level() + 1) {
      std::string number = std::to_string(decimals ? whole + draw.below(3) : draw.below(max_ + 1));
      if (decimals)
        number +=
            draw.chance(0.5) ? fmt::format(".{}", draw.between(1, 9)) : fmt::format(".{:02}", draw.between(1, 99));
      const auto same = [&](const std::string& other) { return value_of(other) == value_of(number); };
      if (std::none_of(numbers.begin(), numbers.end(), same)) numbers.push_back(number);
    }
    Problem problem;
    problem.form = largest ? "largest" : "smallest";
    for (const std::string& number : numbers) problem.form += " " + number;
    problem.answer = work_out(problem, wording, nullptr).answer;
    problem.reward_name = "exact";
    problem.prompt =
        fmt::format(fmt::runtime(largest ? in_words(wording, "Which is the largest: {}?", "{}中哪个最大？", "max {}")
                                         : in_words(wording, "Which is the smallest: {}?", "{}中哪个最小？", "min {}")),
                    enumeration(wording, numbers));
    return problem;
  }

  Solution work_out(const Problem& problem, Wording wording, Draw* slip) const override {
    std::vector<std::string> numbers = split_words(problem.form);
    const bool largest = numbers.front() == "largest";
    numbers.erase(numbers.begin());
    // A slip in a comparison keeps the wrong one of two; if the right one never came to be kept, it is lost at the
    // last.
    Solution solution =
        walk(numbers, largest, slip == nullptr ? 0 : slip->between(1, std::ssize(numbers) - 1), wording);
    if (slip != nullptr && solution.answer == problem.answer) {
      std::int64_t place = 1;
      do solution = walk(numbers, largest, place++, wording);
      while (solution.answer == problem.answer);
    }
    return solution;
  }

  /// Carries the best so far through the row. @param wrong_place  where the worse is kept; 0: nowhere.
  static Solution walk(const std::vector<std::string>& numbers, bool largest, std::int64_t wrong_place,
                       Wording wording) {
    std::string best = numbers[0];
    std::vector<std::string> steps;
    for (std::size_t i = 1; i < numbers.size(); ++i) {
      const bool wrong = static_cast<std::int64_t>(i) == wrong_place;
      const bool less = (value_of(best) < value_of(numbers[i])) != wrong;
      steps.push_back(fmt::format("{}{}{}", best, less ? '<' : '>', numbers[i]));
      if (less == largest) best = numbers[i];
    }
    if (wording == Wording::symbols) return {enumeration(wording, steps), best};
    const auto text = wording == Wording::english
                          ? (largest ? "Compare: {}. The largest is {}." : "Compare: {}. The smallest is {}.")
                          : (largest ? "比较：{}。最大的是{}。" : "比较：{}。最小的是{}。");
    return {fmt::format(fmt::runtime(text), enumeration(wording, steps), best), best};
  }

  const std::int64_t max_;
};

}  // namespace

std::unique_ptr<Task> make_comparison(SpecOptions& options) { return std::make_unique<Comparison>(options); }

}  // namespace athanor
