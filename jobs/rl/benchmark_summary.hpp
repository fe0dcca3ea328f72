// Results of benchmarks for machines (summary.json) and for people (summary.md). Law: a number that could not be
// measured is null there and "-" here, never 0.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "jobs/rl/benchmark.hpp"

namespace athanor {

struct NamedBenchmark {
  std::string name;
  std::string spec;  ///< as written in evaluate.benchmarks
  BenchmarkResult result;
};

/// {"name", "benchmark", "problems", "samples", "pass@1": {"value", "error", "low", "high"}, "pass@k": {"2": ...},
/// "maj@k", "completion_length", shares of completions, ...}
nlohmann::ordered_json benchmark_json(const NamedBenchmark& benchmark);

/// A Markdown table, a row a benchmark; its columns are aligned as plain text too. Shares in per cent, +- one standard
/// error.
std::string benchmark_table(std::span<const NamedBenchmark> benchmarks);

/// Rows of cells as a Markdown table whose columns have one width; the first column to the left, others to the right.
/// @param rows  the first is the head; all of one length.
std::string markdown_table(std::span<const std::vector<std::string>> rows);

/// "83 %"; "-" for none.
std::string percent_text(const std::optional<double>& share);

}  // namespace athanor
