// Whether all ranks look at the same folder when they open one path.
#pragma once

#include <filesystem>

#include "parallel/host_group.hpp"

namespace athanor {

/// Rank 0 writes a word into a file of the folder, which must be there; the others look for it for some seconds,
/// because network file systems may take a moment. Nothing is left behind. Collective.
/// @returns whether this rank sees it. @throws DataError on every rank when rank 0 cannot write.
bool sees_what_rank_0_writes(HostGroup& ranks, const std::filesystem::path& folder);

}  // namespace athanor
