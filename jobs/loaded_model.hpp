// A model read from a checkpoint, for commands that use one: the checkpoint's own configuration says what it is.
#pragma once

#include <filesystem>
#include <memory>

#include "io/checkpoint/manifest.hpp"
#include "io/options/job_options.hpp"
#include "jobs/environment.hpp"
#include "parallel/mesh_model.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

/// The options a checkpoint was trained with, as its stage saw them. @throws DataError, ConfigError
JobOptions options_of_checkpoint(const RunState& state);
/// Those of the checkpoint in this folder, its tokenizer found (jobs/run_tokenizer.hpp).
JobOptions options_of_checkpoint(const std::filesystem::path& checkpoint);

struct LoadedModel {
  /// Collective. @param checkpoint  a checkpoint, stage or run folder. `run` gives device, dtype and threads,
  /// `parallel` the layout, `placements` that of experts.
  LoadedModel(const std::filesystem::path& checkpoint, const RunOptions& run, const ParallelOptions& parallel,
              HostGroup& world, std::map<std::string, ExpertPlacement> placements = {});

  std::filesystem::path checkpoint;
  /// The checkpoint's, with the layout, `run`'s device, dtype and threads, and the file of a tokenizer its run learned.
  JobOptions options;
  std::unique_ptr<Environment> environment;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<MeshModel> model;
  std::unique_ptr<ParameterStore> store;
};

}  // namespace athanor
