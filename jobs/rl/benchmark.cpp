#include "jobs/rl/benchmark.hpp"

#include <algorithm>

#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"
#include "src/reward/answer_vote.hpp"
#include "src/reward/language_consistency.hpp"

namespace athanor {
namespace {

/// What is noted of a problem: sums over its completions.
enum Field : std::size_t {
  kRight,
  kMajorityRight,
  kTokens,
  kTruncated,
  kThinks,
  kThinksRight,
  kWellFormed,
  kUnreadable,
  kLanguage,
  kHasLanguage,
  kNumFields  ///< value and count of each reward follow
};

/// A row of fields a problem, of all ranks.
class ProblemTable {
 public:
  ProblemTable(std::int64_t problems, std::size_t rewards)
      : fields_(kNumFields + 2 * rewards), values_(static_cast<std::size_t>(problems) * fields_) {}
  double& at(std::size_t problem, std::size_t field) { return values_[problem * fields_ + field]; }
  double at(std::size_t problem, std::size_t field) const { return values_[problem * fields_ + field]; }
  std::size_t rewards() const { return (fields_ - kNumFields) / 2; }
  std::size_t problems() const { return values_.size() / fields_; }
  double sum(std::size_t field) const {
    double sum = 0.0;
    for (std::size_t p = 0; p < problems(); ++p) sum += at(p, field);
    return sum;
  }
  /// Every row is written by one rank and 0 on the others. In pieces, for a message holds all ranks' values.
  void gather(HostGroup& world) {
    const std::size_t piece = 256 * fields_;
    for (std::size_t from = 0; from < values_.size(); from += piece)
      world.sum(std::span(values_).subspan(from, std::min(piece, values_.size() - from)));
  }

 private:
  std::size_t fields_;
  std::vector<double> values_;
};

void note_rewards(ProblemTable& table, std::size_t row, std::span<const RewardResult> results) {
  for (const RewardResult& result : results)
    for (std::size_t r = 0; r < std::min(result.parts.size(), table.rewards()); ++r)
      if (result.parts[r].value) {
        table.at(row, kNumFields + 2 * r) += *result.parts[r].value;
        table.at(row, kNumFields + 2 * r + 1) += 1.0;
      }
}

void note_problem(ProblemTable& table, std::size_t row, std::span<const RewardSample> group,
                  std::span<const std::optional<bool>> right, std::span<const Completion> completions,
                  PromptTemplate form) {
  static const AnswerChecks kChecks = all_answer_checks();
  for (std::size_t g = 0; g < group.size(); ++g) {
    const bool is_right = right[g].value_or(false), thinks = thinks_first(form, group[g].completion);
    const bool truncated = completions[g].end == Completion::End::length;
    const auto add = [&](Field field, bool holds) { table.at(row, field) += holds ? 1.0 : 0.0; };
    add(kRight, is_right);
    add(kTruncated, truncated);
    add(kThinks, thinks);
    add(kThinksRight, thinks && is_right);
    add(kWellFormed, !truncated && is_well_formed(form, group[g].completion));
    add(kUnreadable, !right[g]);
    table.at(row, kTokens) += static_cast<double>(completions[g].tokens.size());
    if (const auto consistency = LanguageConsistencyReward().score(group[g])) {
      table.at(row, kLanguage) += *consistency;
      add(kHasLanguage, true);
    }
  }
  table.at(row, kMajorityRight) = vote_on_answers(group, right, kChecks).is_right ? 1.0 : 0.0;
}

BenchmarkResult summarise(const ProblemTable& table, const BenchmarkOptions& options) {
  const std::int64_t samples = options.sampling.group_size;
  BenchmarkResult result;
  result.problems = static_cast<std::int64_t>(table.problems());
  result.samples = samples;
  const auto estimate = [&](auto value_of) {
    std::vector<double> values;
    for (std::size_t p = 0; p < table.problems(); ++p) values.push_back(value_of(p));
    return bootstrap_mean(values, options.bootstrap_seed);
  };
  for (const std::int64_t k : pass_at_counts(samples))
    result.pass_at.emplace_back(k, estimate([&](std::size_t p) {
                                  return pass_at_k(samples, static_cast<std::int64_t>(table.at(p, kRight)), k);
                                }));
  result.pass_at_1 = result.pass_at.front().second;
  result.majority = estimate([&](std::size_t p) { return table.at(p, kMajorityRight); });
  const double completions = static_cast<double>(result.problems * samples);
  const double thinks = table.sum(kThinks), direct = completions - thinks;
  result.length = table.sum(kTokens) / completions;
  result.truncated = table.sum(kTruncated) / completions;
  result.thinks = thinks / completions;
  result.well_formed = table.sum(kWellFormed) / completions;
  result.unreadable = table.sum(kUnreadable) / completions;
  if (thinks > 0.0) result.accuracy_thinking = table.sum(kThinksRight) / thinks;
  if (direct > 0.0) result.accuracy_direct = (table.sum(kRight) - table.sum(kThinksRight)) / direct;
  if (const double spoken = table.sum(kHasLanguage); spoken > 0.0)
    result.language_consistency = table.sum(kLanguage) / spoken;
  for (std::size_t r = 0; r < options.reward_names.size(); ++r)
    if (const double scored = table.sum(kNumFields + 2 * r + 1); scored > 0.0)
      result.rewards.emplace_back(options.reward_names[r], table.sum(kNumFields + 2 * r) / scored);
  return result;
}

}  // namespace

BenchmarkResult run_benchmark(ProcessMesh& mesh, const ProblemScorer& scorer, RolloutEngine& engine,
                              const BenchmarkOptions& options) {
  if (options.problems.count < 1) throw Error("benchmark: there is no problem");
  HostGroup& world = mesh.host(Axis::world);
  const bool counts = counts_problems(mesh);
  const auto begin = Clock::now();
  DrawnProblems drawn = draw_problems(mesh, scorer, options.problems);
  complete(drawn, engine, scorer, options.sampling, mesh);
  const double seconds = world.max(seconds_since(begin));

  const auto samples = static_cast<std::size_t>(options.sampling.group_size);
  ScoredGroups scored = score(drawn, scorer, options.sampling.group_size, mesh);
  if (options.add_scores) options.add_scores(drawn, scored);
  ProblemTable table(options.problems.count, options.reward_names.size());
  std::vector<ShownCompletion> shown;
  for (std::size_t p = 0; p < drawn.problems.size(); ++p) {
    const std::size_t first = p * samples;
    std::vector<RewardSample> group;
    for (std::size_t i = first; i < first + samples; ++i)
      group.push_back(scorer.sample(drawn.problems[p], scored.texts[i], std::ssize(drawn.completions[i].tokens)));
    const auto number = drawn.first + static_cast<std::int64_t>(p) - options.problems.first;
    if (counts) {
      note_rewards(table, static_cast<std::size_t>(number), std::span(scored.results).subspan(first, samples));
      note_problem(table, static_cast<std::size_t>(number), group, std::span(scored.right).subspan(first, samples),
                   std::span(drawn.completions).subspan(first, samples), scorer.prompt_template());
    }
    if (world.rank() == 0 && std::ssize(shown) < options.num_shown)
      shown.push_back({number, drawn.problems[p].prompt, scored.texts[first], drawn.problems[p].answer,
                       scored.right[first].value_or(false)});
  }
  table.gather(world);
  BenchmarkResult result = summarise(table, options);
  result.shown = std::move(shown);
  result.seconds = seconds;
  result.tokens_per_second = table.sum(kTokens) / std::max(1e-9, seconds);
  return result;
}

}  // namespace athanor
