#include "jobs/report/stage_charts.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

namespace athanor {
namespace {

struct SeriesRow {
  const char* metric;
  const char* label;
  const char* error = nullptr;  ///< metric of one standard error; the band is 1.96 of them
};

struct ChartRow {
  const char *title, *unit;
  ChartScale scale;
  bool from_zero;
  bool unless_zero;  ///< left out where every value is 0: what is switched off
  std::vector<SeriesRow> series;
  std::vector<std::string_view> kinds{};  ///< of stages that have it; empty: all
};

/// Metrics of held-out problems or text are exact and few; the others come every step.
bool is_measured(const std::string& metric) { return metric.starts_with("held_out/"); }

const std::vector<ChartRow>& chart_rows() {
  using enum ChartScale;
  static const std::vector<ChartRow> kRows{
      {"Held-out problems solved",
       "",
       share,
       true,
       false,
       {{"held_out/pass@1", "pass@1", "held_out/pass@1_error"},
        {"held_out/maj@k", "maj@k"},
        {"held_out/pass@k", "pass@k"}}},
      {"Reward", "a completion", linear, false, false, {{"reward/mean", "total"}}},
      {"Right answers in rollouts", "", share, true, false, {{"accuracy", "right"}}, {"rl", "rejection_sampling"}},
      {"Comparisons judged right",
       "",
       share,
       true,
       false,
       {{"accuracy", "training"}, {"held_out/accuracy", "held out"}},
       {"reward_model"}},
      {"Scores",
       "",
       linear,
       false,
       false,
       {{"score/good", "good"},
        {"score/bad", "bad"},
        {"held_out/score/good", "good, held out"},
        {"held_out/score/bad", "bad, held out"}}},
      {"Completions kept", "", share, true, false, {{"acceptance_rate", "of the sampled"}}},
      {"Response length",
       "tokens",
       linear,
       true,
       false,
       {{"completion_length/mean", "rollout"}, {"held_out/completion_length", "held out"}}},
      {"Thinks before it answers",
       "",
       share,
       true,
       false,
       {{"thinking", "rollout"}, {"held_out/thinking", "held out"}}},
      {"Form and language, held out",
       "",
       share,
       true,
       false,
       {{"held_out/well_formed", "well formed"},
        {"held_out/language_consistency", "language"},
        {"held_out/truncated", "cut short"}}},
      {"Entropy", "nats a token", linear, true, false, {{"entropy", "policy"}}},
      {"Log-probability gap",
       "nats, sampling to training",
       logarithmic,
       false,
       false,
       {{"rollout_train_logprob_gap/mean", "mean"}, {"rollout_train_logprob_gap/max", "largest"}}},
      {"Divergence from the reference", "nats a token", linear, true, true, {{"kl", "k3"}}},
      {"Divergence taken from the reward", "nats a completion", linear, true, false, {{"kl/completion", "k1"}}},
      {"Weight of the divergence", "", linear, true, false, {{"kl/beta", "beta"}}},
      {"Critic's loss", "", linear, true, false, {{"critic/loss", "value loss"}}},
      {"Explained variance of the returns", "", linear, false, false, {{"critic/explained_variance", "critic"}}},
      {"Loss on text beside", "nats a token", linear, false, false, {{"ptx/loss", "pre-training text"}}},
      {"Clipped ratios", "", share, true, true, {{"clip_fraction", "of tokens"}}},
      {"Groups that teach nothing", "", share, true, false, {{"frac_zero_std_groups", "one reward for all"}}},
      {"Loss",
       "nats a token",
       linear,
       false,
       false,
       {{"loss", "training"}, {"held_out/loss", "held out"}},
       {"pretrain", "sft", "distill"}},
      {"Loss",
       "nats a comparison",
       linear,
       true,
       false,
       {{"loss", "training"}, {"held_out/loss", "held out"}},
       {"reward_model"}},
      // No cross-entropy, and no measure of success.
      {"Policy loss", "", linear, false, false, {{"loss", "objective"}}, {"rl"}},
      {"Loss of the second token ahead", "nats a token", linear, false, true, {{"mtp_loss", "MTP"}}},
      {"Gradient norm", "", logarithmic, false, false, {{"grad_norm", "before clipping"}}},
      {"Learning rate", "", linear, true, false, {{"lr", "rate"}}},
      {"Busiest expert", "load over the mean", linear, false, false, {{"expert_load_max_over_mean", "worst layer"}}},
      {"Training speed", "tokens/s", linear, true, false, {{"tokens_per_second", "all ranks"}}},
      {"Sampling speed", "tokens/s", linear, true, false, {{"rollout_tokens_per_second", "all ranks"}}}};
  return kRows;
}

bool all_zero(const Chart& chart) {
  for (const ChartSeries& series : chart.series)
    for (const ChartPoint& point : series.points)
      if (point.y != 0.0) return false;
  return true;
}

void add_series(Chart& chart, const StageRecord& stage, const SeriesRow& row) {
  const auto found = stage.metrics.find(row.metric);
  if (found == stage.metrics.end()) return;
  ChartSeries series{row.label, found->second, is_measured(row.metric)};
  if (const auto errors = row.error == nullptr ? stage.metrics.end() : stage.metrics.find(row.error);
      errors != stage.metrics.end() && errors->second.size() == series.points.size())
    for (std::size_t i = 0; i < series.points.size(); ++i) series.points[i].error = 1.96 * errors->second[i].y;
  chart.series.push_back(std::move(series));
}

/// Every reward of the set beside their total, where there are several.
void add_rewards(Chart& chart, const StageRecord& stage) {
  std::vector<ChartSeries> parts;
  for (const auto& [name, points] : stage.metrics)
    if (name.starts_with("reward/") && name.ends_with("/mean") && name != "reward/mean")
      parts.push_back({name.substr(7, name.size() - 12), points, false});
  if (parts.size() > 1) std::move(parts.begin(), parts.end(), std::back_inserter(chart.series));
}

/// pass@k by k of the benchmarks of a stage that evaluates.
void add_benchmarks(std::vector<Chart>& charts, const StageRecord& stage) {
  if (!stage.results.is_object() || !stage.results.contains("benchmarks")) return;
  Chart chart;
  chart.title = "Problems solved by one of k completions";
  chart.x_label = "k";
  chart.scale = ChartScale::share;
  for (const auto& benchmark : stage.results["benchmarks"]) {
    ChartSeries series{benchmark.value("name", ""), {}, true};
    for (const auto& [k, estimate] : benchmark.at("pass@k").items()) {
      const double count = std::stod(k);
      series.points.push_back(
          {std::log2(count), estimate.at("value").get<double>(), 1.96 * estimate.at("error").get<double>()});
      const std::pair<double, std::string> tick{std::log2(count), k};
      if (std::find(chart.x_ticks.begin(), chart.x_ticks.end(), tick) == chart.x_ticks.end())
        chart.x_ticks.push_back(tick);
    }
    std::sort(series.points.begin(), series.points.end(),
              [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    chart.series.push_back(std::move(series));
  }
  if (!chart.series.empty() && chart.x_ticks.size() > 1) charts.push_back(std::move(chart));
}

}  // namespace

std::vector<Chart> stage_charts(const StageRecord& stage) {
  std::vector<Chart> charts;
  for (const ChartRow& row : chart_rows()) {
    if (!row.kinds.empty() && std::find(row.kinds.begin(), row.kinds.end(), stage.kind) == row.kinds.end()) continue;
    Chart chart;
    if (stage.kind == "rejection_sampling") chart.x_label = "problems";
    chart.title = row.title;
    chart.unit = row.unit;
    chart.scale = row.scale;
    chart.from_zero = row.from_zero;
    for (const SeriesRow& series : row.series) add_series(chart, stage, series);
    if (!chart.series.empty() && row.series.front().metric == std::string_view("reward/mean"))
      add_rewards(chart, stage);
    if (!chart.series.empty() && !(row.unless_zero && all_zero(chart))) charts.push_back(std::move(chart));
  }
  add_benchmarks(charts, stage);
  return charts;
}

}  // namespace athanor
