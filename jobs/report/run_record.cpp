#include "jobs/report/run_record.hpp"

#include <fstream>

#include "io/options/configuration.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {
using nlohmann::json;
namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The objects of a .jsonl file that may still be growing.
template <class Take>
void each_line(const fs::path& path, Take take) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line) && !in.eof();)
    if (const json object = json::parse(line, nullptr, false); object.is_object()) take(object);
}

void read_metrics(const fs::path& path, StageRecord& stage) {
  each_line(path, [&](const json& record) {
    const auto step = record.find("step");
    if (step == record.end() || !step->is_number()) return;
    for (const auto& [name, value] : record.items())
      if (value.is_number() && name != "step")
        stage.metrics[name].push_back({step->get<double>(), value.get<double>()});
  });
}

}  // namespace

RunRecord read_run(const fs::path& folder) {
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
    StageRecord stage;
    stage.name = name;
    stage.kind = configuration.stage(name).kind;
    if (state.is_object() && state.contains("complete"))
      for (const json& entry : state["complete"])
        if (entry.value("stage", "") == name) {
          stage.complete = true;
          for (const auto& [key, value] : entry.at("summary").items())
            stage.summary.emplace_back(key, value.get<std::string>());
        }
    const fs::path own = folder / "stages" / name;
    read_metrics(own / "metrics.jsonl", stage);
    each_line(own / "samples.jsonl", [&](const json& sample) { stage.samples.push_back(sample); });
    if (fs::exists(own / "summary.json")) stage.results = json::parse(read_text(own / "summary.json"), nullptr, false);
    run.stages.push_back(std::move(stage));
  }
  return run;
}

}  // namespace athanor
