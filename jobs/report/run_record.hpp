// What a run folder says of a run: stages in order, their metrics by name, results and samples. Law: files are read as
// they are found, also while the run goes on; a torn last line is left out.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "jobs/report/svg_chart.hpp"

namespace athanor {

struct StageRecord {
  std::string name, kind;
  bool complete = false;
  std::vector<std::pair<std::string, std::string>> summary;  ///< of summary.md's row
  std::map<std::string, std::vector<ChartPoint>> metrics;    ///< value by step
  nlohmann::json results;                                    ///< its summary.json; null: it has none
  std::vector<nlohmann::json> samples;                       ///< lines of its samples.jsonl
};

struct RunRecord {
  std::string name;
  std::string config;  ///< config.resolved.cfg
  std::vector<StageRecord> stages;
};

/// @throws ConfigError when the folder holds no run.
RunRecord read_run(const std::filesystem::path& folder);

}  // namespace athanor
