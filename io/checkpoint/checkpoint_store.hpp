// Checkpoints of a run: a folder of step_XXXXXXXX folders. Law: a checkpoint is written beside (step_X.tmp), synced,
// then renamed; a crash at any instant leaves every finished one as it was. Every rank writes its own shard; rank 0
// writes the index last. save() copies to host memory and returns; one thread of each rank writes; ranks meet in poll()
// or finish() on the training thread. Public functions are collective where they say so: every rank calls them at the
// same steps.
#pragma once

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "io/checkpoint/load_checkpoint.hpp"
#include "io/checkpoint/manifest.hpp"
#include "io/checkpoint/shard_file.hpp"
#include "parallel/host_group.hpp"
#include "src/backend/backend.hpp"
#include "src/backend/named_shard.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {

class CheckpointStore {
 public:
  struct Options {
    std::int64_t keep_last = 3;  ///< finished checkpoints kept; 0: all
  };
  struct Statistics {
    std::int64_t saves = 0;  ///< finished
    /// Training time lost to the last finished save: in save(), a wait for the save before included, and in poll(). An
    /// explicit finish() is no training time.
    double stall_seconds = 0.0;
    double total_stall_seconds = 0.0;  ///< to all of them
    double write_seconds = 0.0;        ///< of the last finished save's shard on this rank, beside the training
    double save_seconds = 0.0;         ///< from save() until the last finished save was a checkpoint
    std::size_t bytes = 0;             ///< of that shard's tensors
  };

  /// Makes the folder; rank 0 puts right what a crash left in it, so only the job that writes the folder makes a store;
  /// others use load_newest. Collective.
  CheckpointStore(std::filesystem::path folder, HostGroup& ranks, Backend& ops, const Options& options);
  /// A save in flight is not finished: it stays a .tmp folder.
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  /// Takes host memory for a snapshot of such shards and lets the writer thread touch it, so that the first save stalls
  /// as briefly as later ones. Nothing while a save is in flight. Not collective. @throws Error when there is no
  /// memory.
  void prepare(std::span<const NamedShard> shards);
  /// Takes a snapshot and starts writing it. Waits for a save in flight first. The shards' memory may change on return.
  /// Collective. @throws DataError on every rank when the save in flight failed on any.
  void save(const RunState& state, std::span<const NamedShard> shards, Stream& stream);
  /// Takes the save in flight a stage further if every rank's thread is done; one small message, none without a save.
  /// To be called once a step. Collective. @throws DataError on every rank when the save failed on any.
  void poll();
  /// Waits for the save in flight to be a checkpoint. Collective. @throws as poll.
  void finish();
  bool save_in_flight() const { return stage_ != Stage::idle; }

  /// load_newest_checkpoint of this folder. Collective.
  std::optional<RunState> load_latest(std::span<const NamedShard> shards, Stream& stream,
                                      const LoadOptions& options = {});
  /// load_checkpoint.
  static RunState load(const std::filesystem::path& checkpoint, HostGroup& ranks, std::span<const NamedShard> shards,
                       Backend& ops, Stream& stream, const LoadOptions& options = {}) {
    return load_checkpoint(checkpoint, ranks, shards, ops, stream, options);
  }
  /// Finished checkpoints of a folder, oldest first. Not collective.
  static std::vector<std::filesystem::path> list(const std::filesystem::path& folder);
  /// Step of the newest finished checkpoint, -1 without one.
  std::int64_t latest_step() const { return latest_step_; }

  const Statistics& statistics() const { return statistics_; }

 private:
  /// writing: every rank its shard. committing: rank 0 the index and the renames.
  enum class Stage : std::uint8_t { idle, writing, committing };

  /// Host memory that keeps its size and is not filled.
  class Snapshot {
   public:
    std::byte* reserve(std::size_t bytes);

   private:
    struct Free {
      void operator()(std::byte* data) const noexcept { std::free(data); }
    };
    std::unique_ptr<std::byte[], Free> data_;
    std::size_t bytes_ = 0;
  };

  void take_snapshot(std::span<const NamedShard> shards, Stream& stream);
  void commit(const std::vector<std::string>& entries);
  void advance();
  /// Rank 0 warns of a disk that stands out. Collective.
  void look_at_write_times();
  void record_statistics();
  void start(std::function<void()> work);
  void wait_for_work();
  void run_work();

  std::filesystem::path folder_;
  HostGroup& ranks_;
  Backend& ops_;
  Options options_;
  Statistics statistics_;
  std::int64_t latest_step_ = -1;

  // The save in flight. The writer thread touches these between start() and done_ only, the training thread outside.
  Stage stage_ = Stage::idle;
  RunState state_;
  std::filesystem::path temporary_;
  Snapshot snapshot_;
  std::vector<HostPiece> pieces_;
  ManifestFile written_;
  std::string error_;
  double stall_seconds_ = 0.0, write_seconds_ = 0.0;
  double usual_write_seconds_ = 0.0;  ///< on rank 0: the shortest median over ranks so far
  Clock::time_point began_{};
  std::size_t bytes_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::function<void()> work_;  ///< guarded, as the next two
  bool done_ = true, stop_ = false;
  std::thread writer_;
};

}  // namespace athanor
