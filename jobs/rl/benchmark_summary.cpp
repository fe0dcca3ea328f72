#include "jobs/rl/benchmark_summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/text/utf8.hpp"

namespace athanor {
namespace {
using nlohmann::ordered_json;

ordered_json estimate_json(const Estimate& estimate) {
  return {{"value", estimate.value}, {"error", estimate.error}, {"low", estimate.low}, {"high", estimate.high}};
}

ordered_json or_null(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

std::string with_error(const Estimate& estimate) {
  return fmt::format("{:.1f} ± {:.1f}", 100.0 * estimate.value, 100.0 * estimate.error);
}

std::string percent(const std::optional<double>& share) { return share ? fmt::format("{:.1f}", 100.0 * *share) : "-"; }

}  // namespace

std::string percent_text(const std::optional<double>& share) {
  return share ? fmt::format("{:.0f} %", 100.0 * *share) : "-";
}

nlohmann::ordered_json benchmark_json(const NamedBenchmark& benchmark) {
  const BenchmarkResult& result = benchmark.result;
  ordered_json pass_at = ordered_json::object();
  for (const auto& [k, estimate] : result.pass_at) pass_at[std::to_string(k)] = estimate_json(estimate);
  ordered_json rewards = ordered_json::object();
  for (const auto& [name, mean] : result.rewards) rewards[name] = mean;
  return {{"name", benchmark.name},
          {"benchmark", benchmark.spec},
          {"problems", result.problems},
          {"samples", result.samples},
          {"pass@1", estimate_json(result.pass_at_1)},
          {"pass@k", pass_at},
          {"maj@k", estimate_json(result.majority)},
          {"completion_length", result.length},
          {"truncated", result.truncated},
          {"well_formed", result.well_formed},
          {"thinking", result.thinks},
          {"accuracy_thinking", or_null(result.accuracy_thinking)},
          {"accuracy_direct", or_null(result.accuracy_direct)},
          {"language_consistency", or_null(result.language_consistency)},
          {"unreadable", result.unreadable},
          {"rewards", rewards},
          {"seconds", result.seconds},
          {"tokens_per_second", result.tokens_per_second}};
}

std::string markdown_table(std::span<const std::vector<std::string>> rows) {
  const auto width = [](const std::string& cell) { return to_code_points(cell).size(); };
  std::vector<std::size_t> widths(rows.front().size(), 3);
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      const std::string pad(widths[c] - width(rows[r][c]), ' ');
      text += "| " + (c == 0 ? rows[r][c] + pad : pad + rows[r][c]) + " ";
    }
    text += "|\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < widths.size(); ++c)
      text += c == 0 ? "|" + std::string(widths[c] + 2, '-') : "|" + std::string(widths[c] + 1, '-') + ":";
    text += "|\n";
  }
  return text;
}

std::string benchmark_table(std::span<const NamedBenchmark> benchmarks) {
  // Benchmarks of one stage have one number of samples.
  const std::int64_t samples = benchmarks.empty() ? 1 : benchmarks.front().result.samples;
  std::vector<std::vector<std::string>> rows{{"benchmark", "problems", "pass@1 %"}};
  if (samples > 1) rows[0].insert(rows[0].end(), {fmt::format("pass@{} %", samples), fmt::format("maj@{} %", samples)});
  rows[0].insert(rows[0].end(), {"tokens", "cut short %", "well formed %", "think first %", "language %"});
  for (const NamedBenchmark& benchmark : benchmarks) {
    const BenchmarkResult& result = benchmark.result;
    std::vector<std::string> row{benchmark.name, std::to_string(result.problems), with_error(result.pass_at_1)};
    if (samples > 1) row.insert(row.end(), {with_error(result.pass_at_samples()), with_error(result.majority)});
    row.insert(row.end(), {fmt::format("{:.1f}", result.length), percent(result.truncated), percent(result.well_formed),
                           percent(result.thinks), percent(result.language_consistency)});
    rows.push_back(std::move(row));
  }
  return markdown_table(rows);
}

}  // namespace athanor
