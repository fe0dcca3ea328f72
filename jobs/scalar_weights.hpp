// Weights for a model with a scalar head: from a model of tokens all but its head, from another reward model or critic
// everything.
#pragma once

#include <filesystem>
#include <span>

#include "parallel/host_group.hpp"
#include "src/backend/backend.hpp"
#include "src/backend/named_shard.hpp"

namespace athanor {

/// Loads a checkpoint into `shards` (weights and states of the model). Of a model of tokens the unembedding and the MTP
/// modules are left alone and the scalar head keeps what it holds: initialise it first. Collective.
/// @returns whether the checkpoint had a scalar head.
/// @throws ConfigError when the layers are another model's; DataError when the checkpoint is damaged.
bool load_scalar_weights(const std::filesystem::path& checkpoint, HostGroup& ranks, std::span<const NamedShard> shards,
                         Backend& ops, Stream& stream);

}  // namespace athanor
