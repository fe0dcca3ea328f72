// What a checkpoint contains: the run's state, and every piece of every logical tensor with its place and checksum.
// Law: the loader trusts this table alone. Virtual datasets read as fill where a file is missing; the table tells.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/shard_spec.hpp"

namespace athanor {

/// What is saved besides tensors.
struct RunState {
  std::string stage;
  std::int64_t step = 0;    ///< optimizer steps done
  std::int64_t tokens = 0;  ///< tokens trained on
  std::uint64_t seed = 0;
  std::map<std::string, std::string> values;  ///< small state by name: data position, guard, schedule ...
  std::string config_text;                    ///< the resolved configuration, whole
  std::string layout_text;                    ///< the mesh that wrote it
};

struct ManifestPiece {
  ShardSpec spec;       ///< tensor and rectangle
  std::string dataset;  ///< path inside the shard file
  std::int64_t file_offset = 0;
  std::string checksum;  ///< XXH3-128, 32 hex digits
  std::size_t bytes() const { return static_cast<std::size_t>(spec.extent.numel()) * size_bytes(spec.dtype); }
};

struct ManifestFile {
  std::string name;  ///< relative to the checkpoint's folder
  std::int64_t size = 0;
  std::vector<ManifestPiece> pieces;
};

struct Manifest {
  RunState state;
  std::vector<ManifestFile> files;
};

/// One file's entry as JSON text, for the way to rank 0.
std::string to_json(const ManifestFile& file);
/// @throws DataError when the text is not such an entry.
ManifestFile file_from_json(std::string_view text);

/// One logical tensor as the pieces together have it.
struct StoredTensor {
  DType dtype = DType::f32;
  Shape global;
  std::vector<std::pair<const ManifestFile*, const ManifestPiece*>> pieces;

  std::int64_t bytes() const { return global.numel() * static_cast<std::int64_t>(size_bytes(dtype)); }
};

/// By name. Points into the manifest. @throws DataError naming the tensor when its pieces disagree on type or shape, or
/// an element is not in exactly one of them.
std::map<std::string, StoredTensor> tensors_of(const Manifest& manifest);

/// Writes index.h5: state, configuration, layout, manifest, and a virtual dataset for each logical tensor; then a seal
/// (the checksum of all that) in the file's user block. Synced to disk.
void write_index(const std::filesystem::path& path, const Manifest& manifest);
/// @throws DataError naming the file when it is missing, damaged (the seal is checked before HDF5 sees the file) or of
/// another format version.
Manifest read_index(const std::filesystem::path& path);

}  // namespace athanor
