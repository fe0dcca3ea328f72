#include "io/checkpoint/checkpoint_store.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <new>

#include "io/checkpoint/checkpoint_folder.hpp"
#include "io/checkpoint/durable.hpp"
#include "io/checkpoint/raw_file.hpp"
#include "io/checkpoint/slow_disk.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/base/span.hpp"

namespace athanor {
namespace {

/// Adds the time it lives to a sum.
class StallTimer {
 public:
  explicit StallTimer(double& sum) : sum_(sum) {}
  ~StallTimer() { sum_ += seconds(); }
  StallTimer(const StallTimer&) = delete;
  StallTimer& operator=(const StallTimer&) = delete;
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  double& sum_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

constexpr std::size_t kSnapshotAlignment = std::size_t{2} << 20;

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + RawFile::kPageBytes - 1) / RawFile::kPageBytes * RawFile::kPageBytes;
}

bool is_written(const NamedShard& shard) { return shard.is_writer && shard.spec.extent.numel() > 0; }

std::size_t snapshot_bytes(std::span<const NamedShard> shards) {
  std::size_t total = 0;
  for (const NamedShard& shard : shards)
    if (is_written(shard))
      total += whole_pages(static_cast<std::size_t>(shard.spec.extent.numel()) * size_bytes(shard.spec.dtype));
  return total;
}

}  // namespace

CheckpointStore::CheckpointStore(std::filesystem::path folder, HostGroup& ranks, Backend& ops, const Options& options)
    : folder_(std::move(folder)), ranks_(ranks), ops_(ops), options_(options) {
  std::string newest = "-1";
  const auto outcome = attempt_together(ranks_, [&] {
    if (ranks_.rank() != 0) return;
    std::filesystem::create_directories(folder_);
    checkpoint_folder::recover(folder_);
    if (const auto finished = list(folder_); !finished.empty())
      newest = std::to_string(checkpoint_folder::step_of(finished.back()));
  });
  if (!outcome.good())
    throw DataError("the checkpoint folder " + folder_.string() + " cannot be used: " + outcome.reason);
  latest_step_ = std::stoll(ranks_.broadcast(newest, 0));
  writer_ = std::thread([this] { run_work(); });
}

CheckpointStore::~CheckpointStore() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  writer_.join();
  if (stage_ != Stage::idle && ranks_.rank() == 0)
    spdlog::warn("the checkpoint of step {} was not finished; {} will be deleted at the next start", state_.step,
                 temporary_.string());
}

// ---- the writer thread

void CheckpointStore::start(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    work_ = std::move(work);
    done_ = false;
  }
  wake_.notify_all();
}

void CheckpointStore::run_work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return work_ || stop_; });
    if (!work_) return;
    const auto work = std::exchange(work_, nullptr);
    lock.unlock();
    try {
      work();
    } catch (const std::exception& error) {
      error_ = error.what();
    }
    lock.lock();
    done_ = true;
    wake_.notify_all();
  }
}

void CheckpointStore::wait_for_work() {
  const Span span(SpanKind::checkpoint, "wait for the writer");
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return done_; });
}

// ---- saving

std::byte* CheckpointStore::Snapshot::reserve(std::size_t bytes) {
  if (bytes > bytes_) {
    const std::size_t rounded = (bytes + kSnapshotAlignment - 1) / kSnapshotAlignment * kSnapshotAlignment;
    data_.reset();
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(kSnapshotAlignment, rounded)));
    bytes_ = data_ ? rounded : 0;
    if (!data_) throw Error("checkpoint: no " + std::to_string(bytes) + " bytes of host memory for the snapshot");
    ::madvise(data_.get(), rounded, MADV_HUGEPAGE);  // the first save would take a fault every 4 KiB
  }
  return data_.get();
}

void CheckpointStore::prepare(std::span<const NamedShard> shards) {
  if (stage_ != Stage::idle) return;
  wait_for_work();
  const std::size_t bytes = snapshot_bytes(shards);
  std::byte* place = snapshot_.reserve(bytes);
  start([place, bytes] {
    for (std::size_t at = 0; at < bytes; at += RawFile::kPageBytes) place[at] = std::byte{0};
  });
}

void CheckpointStore::take_snapshot(std::span<const NamedShard> shards, Stream& stream) {
  const Span span(SpanKind::checkpoint, "snapshot");
  bytes_ = 0;
  for (const NamedShard& shard : shards) {
    if (!is_written(shard)) continue;
    if (shard.local.numel() != shard.spec.extent.numel() || shard.local.dtype() != shard.spec.dtype)
      throw Error("saving " + shard.spec.name + ": the part " + shard.spec.extent.to_string() + " of type " +
                  std::string(to_string(shard.spec.dtype)) + " is not in the tensor " + shard.local.to_string());
    bytes_ += shard.local.bytes();
  }
  std::byte* place = snapshot_.reserve(snapshot_bytes(shards));
  pieces_.clear();
  for (const NamedShard& shard : shards) {
    if (!is_written(shard)) continue;
    ops_.download({place, shard.local.bytes()}, shard.local, stream);
    pieces_.push_back({shard.spec, place});
    place += whole_pages(shard.local.bytes());
  }
  stream.synchronize();
}

void CheckpointStore::save(const RunState& state, std::span<const NamedShard> shards, Stream& stream) {
  const Span span(SpanKind::checkpoint, "save", {}, {{"step", state.step}});
  double waited = 0.0;
  {
    const StallTimer timer(waited);
    finish();
    wait_for_work();  // prepare()'s
  }
  began_ = Clock::now();
  stall_seconds_ = waited;
  const StallTimer timer(stall_seconds_);
  state_ = state;
  temporary_ = folder_ / (checkpoint_folder::step_name(state.step) + ".tmp");
  error_.clear();
  attempt_together(ranks_, [&] {
    if (ranks_.rank() == 0) {
      checkpoint_folder::recover(folder_);
      std::filesystem::create_directories(temporary_);
    }
    take_snapshot(shards, stream);
  }).raise();
  stage_ = Stage::writing;
  start([this] {
    const Span span(SpanKind::checkpoint, "write shard");
    write_seconds_ = 0.0;
    const StallTimer writing(write_seconds_);
    if (ranks_.log() != nullptr) ranks_.log()->before_writing();
    written_ = write_shard_file(temporary_ / shard_file_name(ranks_.rank()), pieces_);
  });
}

void CheckpointStore::commit(const std::vector<std::string>& entries) {
  const Span span(SpanKind::checkpoint, "commit");
  Manifest manifest{state_, {}};
  for (const std::string& entry : entries) manifest.files.push_back(file_from_json(entry));
  for (const ManifestFile& file : manifest.files) {
    std::error_code missing;
    const auto size = std::filesystem::file_size(temporary_ / file.name, missing);
    if (missing || static_cast<std::int64_t>(size) != file.size)
      throw DataError("rank 0 does not see " + file.name + " with the " + std::to_string(file.size) +
                      " bytes its rank wrote; the folder must be on a file system that all ranks share");
  }
  write_index(temporary_ / "index.h5", manifest);
  sync_folder(temporary_);
  checkpoint_folder::commit(folder_, temporary_, state_.step);
  checkpoint_folder::remove_all_but(folder_, options_.keep_last);
}

/// Every rank's thread is done with the present stage.
void CheckpointStore::advance() {
  const Stage finished = std::exchange(stage_, Stage::idle);
  const auto outcome = attempt_together(ranks_, [&] {
    if (!error_.empty()) throw DataError(error_);
  });
  if (!outcome.good())
    throw DataError("saving " + temporary_.string() + " failed: " + outcome.reason +
                    "; the checkpoints before it are untouched");
  if (finished == Stage::writing) {
    look_at_write_times();
    auto entries = ranks_.gather(to_json(written_), 0);
    if (ranks_.rank() == 0) start([this, entries = std::move(entries)] { commit(entries); });
    stage_ = Stage::committing;
    return;
  }
  latest_step_ = state_.step;
}

void CheckpointStore::look_at_write_times() {
  std::vector<WriteTime> times;
  for (const std::string& text : ranks_.gather(fmt::format("{:.6f} {}", write_seconds_, ranks_.host_name()), 0)) {
    const auto space = text.find(' ');
    times.push_back({std::stod(text.substr(0, space)), text.substr(space + 1)});
  }
  if (ranks_.rank() != 0) return;
  if (const std::string why = slow_disk(times, usual_write_seconds_); !why.empty())
    spdlog::warn("checkpoint of step {}: {}", state_.step, why);
  const double median = median_seconds(times);
  usual_write_seconds_ = usual_write_seconds_ > 0.0 ? std::min(usual_write_seconds_, median) : median;
}

void CheckpointStore::record_statistics() {
  statistics_.save_seconds = seconds_since(began_);
  ++statistics_.saves;
  statistics_.write_seconds = write_seconds_;
  statistics_.bytes = bytes_;
  statistics_.stall_seconds = stall_seconds_;
  statistics_.total_stall_seconds += stall_seconds_;
}

void CheckpointStore::poll() {
  if (stage_ == Stage::idle) return;
  {
    const StallTimer timer(stall_seconds_);
    bool mine;
    {
      const std::lock_guard lock(mutex_);
      mine = done_;
    }
    if (ranks_.all_agree(mine)) advance();
  }
  if (stage_ == Stage::idle) record_statistics();
}

void CheckpointStore::finish() {
  if (stage_ == Stage::idle) return;
  while (stage_ != Stage::idle) {
    wait_for_work();
    advance();
  }
  record_statistics();
}

// ---- loading

std::optional<RunState> CheckpointStore::load_latest(std::span<const NamedShard> shards, Stream& stream,
                                                     const LoadOptions& options) {
  return load_newest_checkpoint(folder_, ranks_, shards, ops_, stream, options);
}

std::vector<std::filesystem::path> CheckpointStore::list(const std::filesystem::path& folder) {
  return checkpoint_folder::finished(folder);
}

}  // namespace athanor
