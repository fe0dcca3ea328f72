// One shard file of a checkpoint: HDF5 lays it out (contiguous, allocated early), the bytes go past HDF5 to the offsets
// it names, in large pieces, each with its checksum. So a file is valid HDF5 and is written at the speed of the disk.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint/manifest.hpp"

namespace athanor {

/// A piece in host memory, to be written.
struct HostPiece {
  ShardSpec spec;
  const std::byte* data = nullptr;  ///< at best on a page (RawFile::kPageBytes): such pieces are written without a copy
};

/// "shard_00003.h5"
std::string shard_file_name(int rank);

/// Writes and syncs a shard file. @returns its entry of the manifest. @throws DataError with the reason (full disk,
/// ...).
ManifestFile write_shard_file(const std::filesystem::path& path, std::span<const HostPiece> pieces);

/// Reads one piece and verifies its checksum. @throws DataError naming file and tensor when it is missing, short or
/// changed.
void read_piece(const std::filesystem::path& path, const ManifestPiece& piece, std::span<std::byte> into);

}  // namespace athanor
