#include "io/checkpoint/checkpoint_store.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "io/checkpoint/durable.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

std::string step_folder(std::int64_t step) { return fmt::format("step_{:08}", step); }

/// What a rank found when it tried: decides for all. Ordered from good to bad.
enum class Verdict : char { good = 'g', damaged = 'd', mismatch = 'm' };

/// Runs `attempt` on every rank and agrees on the worst outcome. @returns the verdict and, on every rank, the first
/// reason.
template <class Attempt>
std::pair<Verdict, std::string> agree(HostGroup& ranks, const Attempt& attempt) {
  std::string mine = "g";
  try {
    attempt();
  } catch (const ConfigError& error) {
    mine = std::string("m") + error.what();
  } catch (const std::exception& error) {
    mine = std::string("d") + error.what();
  }
  Verdict worst = Verdict::good;
  std::string reason;
  for (const std::string& one : ranks.all_gather(mine)) {
    const auto verdict = static_cast<Verdict>(one.front());
    if (verdict == Verdict::good || worst == Verdict::mismatch ||
        (worst == Verdict::damaged && verdict == Verdict::damaged))
      continue;
    worst = verdict;
    reason = one.substr(1);
  }
  return {worst, reason};
}

/// Puts right what a crash left: a checkpoint that had stepped aside for its successor comes back if the successor did
/// not take its place; half-written ones go.
void recover_folder(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto& path = entry.path();
    if (!path.filename().string().starts_with("step_") || path.extension().empty()) continue;
    auto place = path;
    place.replace_extension();
    if (path.extension() == ".old" && !std::filesystem::exists(place))
      std::filesystem::rename(path, place);
    else
      std::filesystem::remove_all(path);
  }
}

}  // namespace

CheckpointStore::CheckpointStore(std::filesystem::path folder, HostGroup& ranks, Backend& ops, const Options& options)
    : folder_(std::move(folder)), ranks_(ranks), ops_(ops), options_(options) {
  const auto [verdict, reason] = agree(ranks_, [&] {
    if (ranks_.rank() != 0) return;
    try {
      std::filesystem::create_directories(folder_);
      recover_folder(folder_);
    } catch (const std::filesystem::filesystem_error& error) {
      throw DataError("checkpoints: the folder " + folder_.string() + " cannot be used: " + error.what());
    }
  });
  if (verdict != Verdict::good) throw DataError(reason);
  if (const auto finished = list(folder_); !finished.empty())
    latest_step_ = std::stoll(finished.back().filename().string().substr(5));
  writer_ = std::thread([this] { write_in_background(); });
}

CheckpointStore::~CheckpointStore() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  writer_.join();
}

void CheckpointStore::write_in_background() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return work_ || stop_; });
    if (!work_) return;
    work_ = false;
    lock.unlock();
    const auto begin = Clock::now();
    std::string error;
    try {
      written_ = write_shard_file(temporary_ / fmt::format("shard_{:05}.h5", ranks_.rank()), pieces_);
    } catch (const std::exception& failure) {
      error = failure.what();
    }
    lock.lock();
    error_ = error;
    statistics_.write_seconds = seconds_since(begin);
    done_ = true;
    wake_.notify_all();
  }
}

void CheckpointStore::save(const RunState& state, std::span<const NamedShard> shards, Stream& stream) {
  const auto begin = Clock::now();
  finish();
  state_ = state;
  temporary_ = folder_ / (step_folder(state.step) + ".tmp");
  pieces_.clear();
  std::size_t total = 0;
  for (const NamedShard& shard : shards)
    if (shard.is_writer && shard.spec.extent.numel() > 0) total += (shard.local.bytes() + 63) / 64 * 64;
  if (snapshot_.size() < total) snapshot_.resize(total);
  std::size_t offset = 0;
  for (const NamedShard& shard : shards) {
    if (!shard.is_writer || shard.spec.extent.numel() == 0) continue;
    const std::span<std::byte> place(snapshot_.data() + offset, shard.local.bytes());
    ops_.download(place, shard.local, stream);
    pieces_.push_back({shard.spec, place.data()});
    offset += (place.size() + 63) / 64 * 64;
  }
  stream.synchronize();
  const auto [verdict, reason] = agree(ranks_, [&] {
    if (ranks_.rank() != 0) return;
    std::error_code failed;
    std::filesystem::remove_all(temporary_, failed);
    std::filesystem::create_directories(temporary_, failed);
    if (failed) throw DataError("checkpoints: " + temporary_.string() + " cannot be made: " + failed.message());
  });
  if (verdict != Verdict::good) throw DataError(reason);
  in_flight_ = true;
  {
    const std::lock_guard lock(mutex_);
    done_ = false;
    work_ = true;
  }
  wake_.notify_all();
  ++statistics_.saves;
  statistics_.bytes = total;
  statistics_.stall_seconds = seconds_since(begin);
}

void CheckpointStore::poll() {
  if (!in_flight_) return;
  bool mine;
  {
    const std::lock_guard lock(mutex_);
    mine = done_;
  }
  if (ranks_.all_agree(mine)) end_save();
}

void CheckpointStore::finish() {
  if (!in_flight_) return;
  {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return done_; });
  }
  end_save();
}

void CheckpointStore::end_save() {
  const auto begin = Clock::now();
  in_flight_ = false;
  const auto [verdict, reason] = agree(ranks_, [&] {
    if (!error_.empty()) throw DataError(error_);
  });
  if (verdict != Verdict::good)
    throw DataError("saving " + temporary_.string() + " failed: " + reason +
                    "; the checkpoints before it are untouched");
  const std::vector<std::string> entries = ranks_.gather(to_json(written_), 0);
  const auto [ended, why] = agree(ranks_, [&] {
    if (ranks_.rank() != 0) return;
    try {
      Manifest manifest{state_, {}};
      for (const std::string& entry : entries) manifest.files.push_back(file_from_json(entry));
      write_index(temporary_ / "index.h5", manifest);
      sync_folder(temporary_);
      const auto place = folder_ / step_folder(state_.step);
      if (std::filesystem::exists(place)) {
        // The same step again, after a restart from an older checkpoint: the old folder steps aside for the instant.
        std::filesystem::rename(place, place.string() + ".old");
        std::filesystem::rename(temporary_, place);
        std::filesystem::remove_all(place.string() + ".old");
      } else {
        std::filesystem::rename(temporary_, place);
      }
      sync_folder(folder_);
      replace_text_file(folder_ / "latest", step_folder(state_.step) + "\n");
      remove_old();
    } catch (const std::filesystem::filesystem_error& error) {
      throw DataError(error.what());
    }
  });
  if (ended != Verdict::good)
    throw DataError("saving " + temporary_.string() + " failed: " + why + "; the checkpoints before it are untouched");
  latest_step_ = state_.step;
  statistics_.stall_seconds += seconds_since(begin);
}

void CheckpointStore::remove_old() {
  if (options_.keep_last <= 0) return;
  auto finished = list(folder_);
  // What was just written is verified by construction; older ones go first, the newest never.
  const auto keep = static_cast<std::size_t>(options_.keep_last);
  for (std::size_t i = 0; i + keep < finished.size(); ++i)
    if (finished[i].filename() != step_folder(state_.step)) std::filesystem::remove_all(finished[i]);
}

std::vector<std::filesystem::path> CheckpointStore::list(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.starts_with("step_") && name.size() > 5 &&
        std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; }))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

RunState CheckpointStore::load(const std::filesystem::path& checkpoint, HostGroup& ranks,
                               std::span<const NamedShard> shards, Backend& ops, Stream& stream,
                               const LoadOptions& options) {
  std::optional<CheckpointReader> reader;
  const auto [verdict, reason] = agree(ranks, [&] {
    reader.emplace(checkpoint);
    reader->check_tensors(shards, options);
    reader->load(shards, ops, stream, options);
  });
  if (verdict == Verdict::mismatch) throw ConfigError(reason);
  if (verdict == Verdict::damaged) throw DataError(reason);
  return reader->manifest().state;
}

std::optional<RunState> CheckpointStore::load_latest(std::span<const NamedShard> shards, Stream& stream,
                                                     const LoadOptions& options) {
  // Rank 0's view of the folder decides: a shared file system may show others an older one.
  std::string names;
  if (ranks_.rank() == 0)
    for (const auto& path : list(folder_)) names += path.filename().string() + "\n";
  names = ranks_.broadcast(names, 0);
  std::vector<std::string> newest_first;
  for (std::size_t begin = 0, end; (end = names.find('\n', begin)) != std::string::npos; begin = end + 1)
    newest_first.insert(newest_first.begin(), names.substr(begin, end - begin));
  if (newest_first.empty()) return std::nullopt;
  std::string reasons;
  for (const std::string& name : newest_first) {
    try {
      RunState state = load(folder_ / name, ranks_, shards, ops_, stream, options);
      latest_step_ = state.step;
      return state;
    } catch (const DataError& error) {
      if (ranks_.rank() == 0) spdlog::warn("checkpoint {} is skipped: {}", name, error.what());
      reasons += std::string("\n  ") + name + ": " + error.what();
    }
  }
  throw DataError("none of the checkpoints in " + folder_.string() + " is whole:" + reasons +
                  "\nMove the folder away to start from nothing, or restore a checkpoint");
}

}  // namespace athanor
