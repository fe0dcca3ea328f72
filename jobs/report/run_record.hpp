// What a run folder says of a run: stages in order, what each takes from earlier ones, metrics by name, results and
// samples. Law: files are read as they are found, also while the run goes on; a torn last line is left out.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "jobs/report/stage_links.hpp"
#include "jobs/report/svg_chart.hpp"

namespace athanor {

struct StageRecord {
  std::string name, kind;
  bool complete = false;
  bool begun = false;                                        ///< it has a folder
  std::vector<StageLink> links;                              ///< what it takes from earlier stages
  std::string held_out_problems;                             ///< spec of what an rl stage measures itself on
  std::vector<std::pair<std::string, std::string>> summary;  ///< of summary.md's row
  std::map<std::string, std::vector<ChartPoint>> metrics;    ///< value by step
  nlohmann::json results;                                    ///< its summary.json; null: it has none
  std::vector<nlohmann::json> samples;                       ///< lines of its samples.jsonl
  nlohmann::json sampling;                         ///< counts of kept and rejected completions; null: it has none
  std::vector<nlohmann::json> kept_conversations;  ///< the first lines of its data/conversations.jsonl

  /// The stage whose weights it begins from, samples or measures; empty: none of this run.
  std::string init() const;
  /// Its last value of a metric, of its summary; empty: it has none.
  std::optional<double> last(const std::string& metric) const;
  std::string summary_of(const std::string& key) const;
};

struct RunRecord {
  std::string name;
  std::string config;  ///< config.resolved.cfg
  std::vector<StageRecord> stages;
};

/// Adds what a line of metrics.jsonl says; nothing for one that is none.
void add_metrics(const std::string& line, StageRecord& stage);
/// Stages, their order and links, what is complete; of metrics, results and samples nothing.
/// @throws ConfigError when the folder holds no run.
RunRecord read_recipe(const std::filesystem::path& folder);
/// All of it. @throws ConfigError when the folder holds no run.
RunRecord read_run(const std::filesystem::path& folder);

}  // namespace athanor
