// Reading a checkpoint folder on any layout; also what `inspect` shows. Law: what a rank needs is the intersection of
// its rectangles with the pieces of the manifest; a piece is used only after its checksum was verified. Not collective.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint/manifest.hpp"
#include "src/backend/backend.hpp"
#include "src/backend/named_shard.hpp"

namespace athanor {

struct LoadOptions {
  bool convert_floats = false;  ///< let a floating tensor be read into another floating type
  bool allow_unused = false;    ///< let the checkpoint hold tensors of a loaded kind that the run does not have
  /// By the beginnings of their names: tensors the run has that the checkpoint may lack (they keep what they hold), and
  /// tensors the checkpoint may hold that the run does not have.
  std::vector<std::string> may_lack = {}, may_hold = {};
};

class CheckpointReader {
 public:
  /// @throws DataError when index.h5 or a shard file is missing, truncated or damaged (of shard files only the sizes
  /// are checked here), or an element of a tensor is not stored exactly once.
  explicit CheckpointReader(std::filesystem::path folder);
  CheckpointReader(const CheckpointReader&) = delete;
  CheckpointReader& operator=(const CheckpointReader&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  const RunState& state() const { return manifest_.state; }
  /// By name.
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

  /// @throws ConfigError when a tensor is not in the checkpoint or has another shape or type: it is another model's.
  void check_tensors(std::span<const NamedShard> shards, const LoadOptions& options) const;
  /// Reads, verifies and uploads. Call check_tensors first. @throws DataError naming file and tensor.
  void load(std::span<const NamedShard> shards, Backend& ops, Stream& stream, const LoadOptions& options) const;
  /// Verifies the checksum of every piece. @returns one message for each that is bad.
  std::vector<std::string> verify_all() const;

 private:
  std::filesystem::path folder_;
  Manifest manifest_;
  std::map<std::string, StoredTensor> tensors_;  ///< points into manifest_
};

}  // namespace athanor
