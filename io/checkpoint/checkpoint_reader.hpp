// Reading a checkpoint folder on any layout. Law: what a rank needs is the intersection of its rectangles with the
// pieces of the manifest; a piece is used only after its checksum was verified.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "io/checkpoint/manifest.hpp"
#include "src/backend/backend.hpp"
#include "src/backend/named_shard.hpp"

namespace athanor {

struct LoadOptions {
  bool convert_floats = false;  ///< let a f32 tensor be read into bf16 and back
};

class CheckpointReader {
 public:
  /// @throws DataError when index.h5 or a shard file is missing, truncated or damaged (sizes are checked, not
  /// contents).
  explicit CheckpointReader(std::filesystem::path folder);

  const Manifest& manifest() const { return manifest_; }
  const std::filesystem::path& folder() const { return folder_; }

  /// @throws ConfigError when a tensor is not in the checkpoint or has another shape or type: it is another model's.
  void check_tensors(std::span<const NamedShard> shards, const LoadOptions& options) const;
  /// Reads, verifies and uploads. Call check_tensors first. @throws DataError naming file and tensor.
  void load(std::span<const NamedShard> shards, Backend& ops, Stream& stream, const LoadOptions& options) const;
  /// Verifies the checksum of every piece. @returns one message for each that is bad.
  std::vector<std::string> verify_all() const;

 private:
  struct Source {
    const ManifestFile* file;
    const ManifestPiece* piece;
  };
  const std::vector<Source>* sources_of(const std::string& tensor) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  std::map<std::string, std::vector<Source>> sources_;
};

}  // namespace athanor
