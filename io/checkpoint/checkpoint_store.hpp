// Checkpoints of a run: a folder of step_XXXXXXXX folders. Law: a checkpoint is written beside (step_X.tmp), synced,
// then renamed; a crash at any instant leaves every finished one as it was. Every rank writes its own shard; rank 0
// writes the index last. save() copies to host memory and returns; one thread writes; the collective end runs in poll()
// or finish() on the training thread. All functions are collective: every rank calls them at the same steps.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "io/checkpoint/checkpoint_reader.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/shard_file.hpp"
#include "parallel/host_group.hpp"
#include "src/backend/backend.hpp"
#include "src/backend/named_shard.hpp"

namespace athanor {

class CheckpointStore {
 public:
  struct Options {
    std::int64_t keep_last = 3;  ///< finished checkpoints kept; 0: all
  };
  struct Statistics {
    std::int64_t saves = 0;
    double stall_seconds =
        0.0;  ///< training time lost to the last save: snapshot, waiting for the one before, and its end
    double write_seconds = 0.0;  ///< of the last save's writer, on this rank
    std::size_t bytes = 0;       ///< of the last save, on this rank
  };

  /// Makes the folder; rank 0 removes what a crash left (step_*.tmp).
  CheckpointStore(std::filesystem::path folder, HostGroup& ranks, Backend& ops, const Options& options);
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  /// Takes a snapshot and starts writing it. Waits for a save in flight first. The shards' memory may change on return.
  /// @throws DataError on every rank when the save in flight failed on any.
  void save(const RunState& state, std::span<const NamedShard> shards, Stream& stream);
  /// Ends the save in flight if every rank's writer is done; cheap, to be called once a step.
  void poll();
  /// Waits for the save in flight and ends it. @throws DataError on every rank when it failed on any.
  void finish();

  /// Loads the newest checkpoint that is whole, warns about each that is not. Nothing when there is none.
  /// @throws ConfigError on every rank when a checkpoint is another model's; DataError when there are some but none is
  /// whole.
  std::optional<RunState> load_latest(std::span<const NamedShard> shards, Stream& stream,
                                      const LoadOptions& options = {});
  /// Loads a checkpoint folder. Collective over `ranks`.
  static RunState load(const std::filesystem::path& checkpoint, HostGroup& ranks, std::span<const NamedShard> shards,
                       Backend& ops, Stream& stream, const LoadOptions& options = {});

  /// Finished checkpoints of a folder, oldest first. Not collective.
  static std::vector<std::filesystem::path> list(const std::filesystem::path& folder);
  /// Steps of the newest finished checkpoint, -1 without one. Not collective.
  std::int64_t latest_step() const { return latest_step_; }

  const Statistics& statistics() const { return statistics_; }

 private:
  void write_in_background();
  void end_save();
  void remove_old();

  std::filesystem::path folder_;
  HostGroup& ranks_;
  Backend& ops_;
  Options options_;
  Statistics statistics_;
  std::int64_t latest_step_ = -1;

  // The save in flight. Written by save() before the thread is woken, by the thread until done, read by end_save()
  // after.
  bool in_flight_ = false;
  RunState state_;
  std::filesystem::path temporary_;
  std::vector<std::byte> snapshot_;
  std::vector<HostPiece> pieces_;
  ManifestFile written_;
  std::string error_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool work_ = false, done_ = false, stop_ = false;
  std::thread writer_;
};

}  // namespace athanor
