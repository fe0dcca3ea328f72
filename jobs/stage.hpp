// A training stage: one section of a recipe. Law: a stage resumes from its own latest checkpoint when there is one; it
// stops at the step all ranks agreed on, with a checkpoint.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "io/options/configuration.hpp"
#include "jobs/environment.hpp"
#include "jobs/run_folder.hpp"
#include "jobs/stop_signal.hpp"

namespace athanor {

enum class StageStatus : std::uint8_t { complete, interrupted };

/// What a stage runs with. Everything outlives the stage.
struct StageContext {
  std::string name;
  JobOptions options;  ///< as this stage sees them
  StageOptions stage;
  std::string config_text;  ///< the resolved configuration, whole
  HostGroup& world;
  Environment& environment;
  RunFolder& folder;
  StopSignal& stop;
  /// Filled by the stage: its row of summary.md.
  std::map<std::string, std::string> summary;

  /// Where this stage's event files lie; empty where nobody asked for them (run.tensorboard).
  std::filesystem::path event_folder() const {
    return options.run.tensorboard ? folder.path() / "tensorboard" / name : std::filesystem::path();
  }
};

class Stage {
 public:
  virtual ~Stage() = default;
  /// Looks, before any stage of the recipe begins, for what this one would refuse: problems or files that are not
  /// there, too many bad lines. On every rank; not collective. @throws ConfigError
  virtual void check(const JobOptions&) const {}
  /// Collective over the world. @throws Error; all ranks end then.
  virtual StageStatus run(StageContext& context) = 0;
};

/// @throws ConfigError listing the kinds there are.
std::unique_ptr<Stage> make_stage(const std::string& kind);

}  // namespace athanor
