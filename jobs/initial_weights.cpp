#include "jobs/initial_weights.hpp"

#include <spdlog/spdlog.h>

#include "io/checkpoint/checkpoint_store.hpp"
#include "src/base/error.hpp"

namespace athanor {

std::filesystem::path find_checkpoint(const std::filesystem::path& path) {
  if (std::filesystem::exists(path / "index.h5")) return path;
  for (const auto& folder : {path, path / "checkpoints"})
    if (const auto found = CheckpointStore::list(folder); !found.empty()) return found.back();
  // A run folder with one stage.
  std::filesystem::path only;
  std::error_code missing;
  for (const auto& stage : std::filesystem::directory_iterator(path / "stages", missing))
    if (const auto found = CheckpointStore::list(stage.path() / "checkpoints"); !found.empty()) {
      if (!only.empty())
        throw ConfigError("checkpoint: " + path.string() + " has checkpoints of several stages; name one, e.g. " +
                          found.back().string());
      only = found.back();
    }
  if (only.empty())
    throw ConfigError("checkpoint: " + path.string() +
                      " is neither a checkpoint (a folder with index.h5), nor does it hold any (step_*); give the "
                      "folder of a checkpoint, "
                      "of a stage or of a run");
  return only;
}

std::filesystem::path named_checkpoint(const StageContext& context, const std::string& name) {
  const auto stage_folder = context.folder.stage(name);
  const bool is_stage = name.find('/') == std::string::npos && std::filesystem::exists(stage_folder / "checkpoints");
  return find_checkpoint(is_stage ? stage_folder : std::filesystem::path(name));
}

void load_initial_weights(StageContext& context, std::span<const NamedShard> shards) {
  const auto checkpoint = named_checkpoint(context, context.stage.init);
  CheckpointStore::load(checkpoint, context.world, shards, *context.environment.ops, *context.environment.compute,
                        {.convert_floats = true});
  spdlog::info("{}: weights of {}", context.name, checkpoint.string());
}

}  // namespace athanor
