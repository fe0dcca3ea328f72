#include "jobs/report/run_record.hpp"

#include <fstream>
#include <span>

#include "io/options/configuration.hpp"
#include "jobs/rl/prompt_set.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {
using nlohmann::json;
namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The objects of a .jsonl file that may still be growing. @param take  says whether it wants more.
template <class Take>
void each_line(const fs::path& path, Take take) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line) && !in.eof();)
    if (const json object = json::parse(line, nullptr, false); object.is_object() && !take(object)) return;
}

void add_metrics_of(const json& record, StageRecord& stage) {
  const auto step = record.find("step");
  if (step == record.end() || !step->is_number()) return;
  for (const auto& [name, value] : record.items())
    if (value.is_number() && name != "step") stage.metrics[name].push_back({step->get<double>(), value.get<double>()});
}

/// What a stage that samples has kept and rejected so far: its report, or, before that is written, its progress.
void read_sampling(const fs::path& data, StageRecord& stage) {
  constexpr std::size_t kShown = 6;
  stage.sampling = json::parse(read_text(data / "rejected.json"), nullptr, false);
  if (!stage.sampling.is_object()) {
    const json progress = json::parse(read_text(data / "progress.json"), nullptr, false);
    stage.sampling = progress.is_object() && progress.contains("counts") ? progress["counts"] : json();
  }
  each_line(data / "conversations.jsonl", [&](const json& conversation) {
    stage.kept_conversations.push_back(conversation);
    return stage.kept_conversations.size() < kShown;
  });
}

}  // namespace

std::string StageRecord::init() const {
  for (const StageLink& link : links)
    if (link.kind == LinkKind::weights) return link.from;
  return "";
}

std::optional<double> StageRecord::last(const std::string& metric) const {
  const auto found = metrics.find(metric);
  if (found == metrics.end() || found->second.empty()) return std::nullopt;
  return found->second.back().y;
}

std::string StageRecord::summary_of(const std::string& key) const {
  for (const auto& [name, value] : summary)
    if (name == key) return value;
  return "";
}

void add_metrics(const std::string& line, StageRecord& stage) {
  if (const json record = json::parse(line, nullptr, false); record.is_object()) add_metrics_of(record, stage);
}

RunRecord read_recipe(const fs::path& folder) {
  const fs::path config = folder / "config.resolved.cfg";
  if (!fs::exists(config))
    throw ConfigError("report: " + folder.string() + " holds no run (no config.resolved.cfg); give a run folder");
  RunRecord run;
  run.name = fs::weakly_canonical(folder).filename().string();
  run.config = read_text(config);
  int source = 0;
  const Configuration configuration(read_config_file(config, source), OptionTable{});
  const json state = json::parse(read_text(folder / "recipe_state.json"), nullptr, false);
  for (const std::string& name : configuration.stages()) {
    const StageOptions own_keys = configuration.stage(name);
    const JobOptions job = configuration.job(name);
    StageRecord stage;
    stage.name = name;
    stage.kind = own_keys.kind;
    stage.links = stage_links(own_keys, job, std::span(configuration.stages()).first(run.stages.size()));
    if (stage.kind == "rl") stage.held_out_problems = prompt_sets(job.rl).front().tasks;
    if (state.is_object() && state.contains("complete"))
      for (const json& entry : state["complete"])
        if (entry.value("stage", "") == name) {
          stage.complete = true;
          for (const auto& [key, value] : entry.at("summary").items())
            stage.summary.emplace_back(key, value.get<std::string>());
        }
    stage.begun = fs::exists(folder / "stages" / name);
    run.stages.push_back(std::move(stage));
  }
  return run;
}

RunRecord read_run(const fs::path& folder) {
  RunRecord run = read_recipe(folder);
  for (StageRecord& stage : run.stages) {
    const fs::path own = folder / "stages" / stage.name;
    each_line(own / "metrics.jsonl", [&](const json& record) {
      add_metrics_of(record, stage);
      return true;
    });
    each_line(own / "samples.jsonl", [&](const json& sample) {
      stage.samples.push_back(sample);
      return true;
    });
    if (stage.kind == "rejection_sampling") read_sampling(own / "data", stage);
    if (fs::exists(own / "summary.json")) stage.results = json::parse(read_text(own / "summary.json"), nullptr, false);
  }
  return run;
}

}  // namespace athanor
