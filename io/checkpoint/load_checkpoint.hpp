// Loading on any layout, together on all ranks. Law: all ranks take the same decision: they load the same checkpoint or
// throw the same error. These functions only read, so they may run beside the job that writes the folder.
#pragma once

#include <filesystem>
#include <optional>
#include <span>

#include "io/checkpoint/checkpoint_reader.hpp"
#include "parallel/host_group.hpp"

namespace athanor {

/// Loads one checkpoint folder (step_...). Collective.
/// @throws DataError when it is damaged; ConfigError when it is another model's: a tensor is missing in it, has another
/// shape or type, or it holds tensors of these kinds (the part of the name before the first '/') that no rank asks for.
RunState load_checkpoint(const std::filesystem::path& checkpoint, HostGroup& ranks, std::span<const NamedShard> shards,
                         Backend& ops, Stream& stream, const LoadOptions& options = {});

/// Loads the newest whole checkpoint of a run's checkpoint folder and warns about each newer one that is damaged.
/// Nothing when the folder has none. Collective. @throws as load_checkpoint; DataError when there are some, none whole.
std::optional<RunState> load_newest_checkpoint(const std::filesystem::path& folder, HostGroup& ranks,
                                               std::span<const NamedShard> shards, Backend& ops, Stream& stream,
                                               const LoadOptions& options = {});

}  // namespace athanor
