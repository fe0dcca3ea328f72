// logic: small puzzles. "order": who is tallest or shortest, from shuffled comparisons of neighbours, n + 2 people;
// "truth": the value of a row of true and false joined by and and or, worked out from left to right, n + 2 values.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "src/task/task_list.hpp"
#include "src/task/wording.hpp"

namespace athanor {
namespace {

constexpr std::array<std::string_view, 8> kNames{"Ada", "Boris", "Chen", "Dora", "Emil", "Fatima", "Goro", "Hana"};
constexpr std::array<std::string_view, 8> kChineseNames{"小明", "小红", "小刚", "小丽", "小华", "小军", "小芳", "小强"};
constexpr std::string_view kLetters = "ABCDEFGH";

/// @param letter  of kLetters.
std::string name_of(char letter, Wording wording) {
  const auto person = static_cast<std::size_t>(letter - 'A');
  return wording == Wording::english   ? std::string(kNames[person])
         : wording == Wording::chinese ? std::string(kChineseNames[person])
                                       : std::string(1, letter);
}

std::string truth_word(bool value, Wording wording) {
  return std::string(value ? in_words(wording, "true", "真", "T") : in_words(wording, "false", "假", "F"));
}

std::string joint_word(char joint, Wording wording) {
  return std::string(joint == '&' ? in_words(wording, " and ", "且", "&") : in_words(wording, " or ", "或", "|"));
}

class Logic final : public GeneratedTask {
 public:
  explicit Logic(SpecOptions& options) : GeneratedTask("logic", options, 5) {}

 private:
  Problem draw(Draw& draw, Wording wording) const override {
    Problem problem = draw.chance(0.5) ? draw_order(draw, wording) : draw_truth(draw, wording);
    problem.answer = work_out(problem, wording, nullptr).answer;
    problem.reward_name = "exact";
    return problem;
  }

  Solution work_out(const Problem& problem, Wording wording, Draw* slip) const override {
    const std::vector<std::string> words = split_words(problem.form);
    return words[0] == "truth" ? truth(words[1], wording, slip)
                               : order(words[0] == "tallest", {words.begin() + 1, words.end()}, wording, slip);
  }

  /// Form: "tallest B>C A>B".
  Problem draw_order(Draw& draw, Wording wording) const {
    std::vector<char> people(kLetters.begin(), kLetters.end());
    draw.shuffle(people);
    people.resize(static_cast<std::size_t>(level()) + 2);
    std::vector<std::string> facts;
    for (std::size_t i = 0; i + 1 < people.size(); ++i) facts.push_back(fmt::format("{}>{}", people[i], people[i + 1]));
    draw.shuffle(facts);
    const bool tallest = draw.chance(0.5);
    Problem problem;
    problem.form = fmt::format("{} {}", tallest ? "tallest" : "shortest", fmt::join(facts, " "));
    if (wording == Wording::symbols) {
      problem.prompt = fmt::format("{} {}", fmt::join(facts, ","), tallest ? "max" : "min");
      return problem;
    }
    for (const std::string& fact : facts)
      problem.prompt += fmt::format(fmt::runtime(in_words(wording, "{} is taller than {}. ", "{}比{}高。", "")),
                                    name_of(fact[0], wording), name_of(fact[2], wording));
    problem.prompt += tallest ? in_words(wording, "Who is the tallest?", "谁最高？", "")
                              : in_words(wording, "Who is the shortest?", "谁最矮？", "");
    return problem;
  }

  /// Form: "truth T&F|T".
  Problem draw_truth(Draw& draw, Wording wording) const {
    std::string row, shown;
    for (int i = 0; i < level() + 2; ++i) {
      if (i > 0) {
        row += draw.one_of(std::string_view("&|"));
        shown += joint_word(row.back(), wording);
      }
      row += draw.one_of(std::string_view("TF"));
      shown += truth_word(row.back() == 'T', wording);
    }
    Problem problem;
    problem.form = "truth " + row;
    problem.prompt =
        fmt::format(fmt::runtime(in_words(wording, "From left to right: {}?", "从左到右：{}？", "{}")), shown);
    return problem;
  }

  static Solution order(bool tallest, const std::vector<std::string>& facts, Wording wording, Draw* slip) {
    // The tallest is nobody's second; then each one's second follows.
    std::string row;
    for (const std::string& fact : facts)
      if (std::none_of(facts.begin(), facts.end(), [&](const auto& other) { return other[2] == fact[0]; }))
        row += fact[0];
    while (row.size() <= facts.size())
      row += std::find_if(facts.begin(), facts.end(), [&](const auto& fact) { return fact[0] == row.back(); })->at(2);
    if (slip != nullptr) {
      // Someone else gets to the end that is asked for.
      const auto other = static_cast<std::size_t>(slip->between(1, std::ssize(row) - 1));
      std::swap(row[tallest ? 0 : row.size() - 1], row[tallest ? other : row.size() - 1 - other]);
    }
    std::vector<std::string> names;
    for (const char letter : row) names.push_back(name_of(letter, wording));
    const std::string answer = tallest ? names.front() : names.back();
    const auto text = in_words(wording, "From tall to short: {}. So it is {}.", "从高到矮：{}。所以是{}。", "{}|{}");
    return {fmt::format(fmt::runtime(text), fmt::format("{}", fmt::join(names, ">")), answer), answer};
  }

  static Solution truth(const std::string& row, Wording wording, Draw* slip) {
    const auto num_steps = (std::ssize(row) - 1) / 2;
    // Later steps may swallow a slip (false and anything): the last one never does.
    const std::int64_t wrong_step = slip == nullptr ? -1 : num_steps - 1;
    std::vector<std::string> steps;
    bool value = row[0] == 'T';
    for (std::int64_t step = 0; step < num_steps; ++step) {
      const auto at = static_cast<std::size_t>(2 * step + 1);
      const bool next = row[at + 1] == 'T';
      bool result = row[at] == '&' ? value && next : value || next;
      if (step == wrong_step) result = !result;
      const std::string left = truth_word(value, wording) + joint_word(row[at], wording) + truth_word(next, wording);
      steps.push_back(left + std::string(in_words(wording, " is ", "是", "=")) + truth_word(result, wording));
      value = result;
    }
    return {calculation(wording, steps), truth_word(value, wording)};
  }
};

}  // namespace

std::unique_ptr<Task> make_logic(SpecOptions& options) { return std::make_unique<Logic>(options); }

}  // namespace athanor
