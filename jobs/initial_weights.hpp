// Weights to begin with: those of an earlier stage of the recipe, or of any checkpoint folder.
#pragma once

#include <filesystem>
#include <span>

#include "jobs/stage.hpp"
#include "src/backend/named_shard.hpp"

namespace athanor {

/// A checkpoint folder: `path` itself when it is one (it holds index.h5), else the newest below it. @throws ConfigError
std::filesystem::path find_checkpoint(const std::filesystem::path& path);

/// What an option names: an earlier stage of the recipe, or a folder. @throws ConfigError
std::filesystem::path named_checkpoint(const StageContext& context, const std::string& name);

/// Loads context.stage.init into the shards. Collective. @throws ConfigError, DataError
void load_initial_weights(StageContext& context, std::span<const NamedShard> shards);

}  // namespace athanor
