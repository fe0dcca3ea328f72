#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "io/checkpoint/checkpoint_store.hpp"
#include "io/checkpoint/raw_file.hpp"
#include "jobs/bench/bench.hpp"
#include "jobs/bench/random_training.hpp"
#include "parallel/agreement.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

/// A folder of this measurement alone, gone with it.
class ScratchFolder {
 public:
  ScratchFolder(const JobOptions& options, HostGroup& world) : leads_(world.rank() == 0) {
    const std::filesystem::path parent = options.run.folder.empty() ? "runs" : options.run.folder;
    path_ = world.broadcast((parent / fmt::format("bench_checkpoint_{}", ::getpid())).string(), 0);
    attempt_together(world, [&] {
      if (leads_) std::filesystem::create_directories(path_);
    }).raise();
  }
  ~ScratchFolder() {
    std::error_code ignored;
    if (leads_) std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool leads_;
};

enum class WriteMode : std::uint8_t { cached, direct };

/// What `dd bs=8M conv=fsync` (direct: with oflag=direct too) by every rank at once reaches, one file a rank.
/// @returns bytes a second of all ranks.
double measure_plain_write(const std::filesystem::path& folder, std::size_t bytes, WriteMode mode, HostGroup& world) {
  constexpr std::size_t kBlockBytes = std::size_t{8} << 20;
  std::vector<std::byte> memory(kBlockBytes + RawFile::kPageBytes);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<std::byte>(i * 2654435761U >> 13U);
  const auto past_page = reinterpret_cast<std::uintptr_t>(memory.data()) % RawFile::kPageBytes;
  const auto block = std::span<const std::byte>(memory).subspan(RawFile::kPageBytes - past_page, kBlockBytes);
  const auto path = folder / fmt::format("plain_{:05}", world.rank());
  double seconds = 0.0;
  world.barrier();
  attempt_together(world, [&] {
    const auto begin = std::chrono::steady_clock::now();
    auto file = RawFile::create(path);
    if (mode == WriteMode::direct) file.prefer_direct();
    for (std::size_t done = 0; done < bytes; done += kBlockBytes)
      file.write_at(block.first(std::min(kBlockBytes, bytes - done)), static_cast<std::int64_t>(done));
    file.sync();
    seconds = seconds_since(begin);
  }).raise();
  std::filesystem::remove(path);
  return world.sum(static_cast<double>(bytes)) / world.max(seconds);
}

/// One save with training going on, the slowest rank of each number.
struct SaveCost {
  double stall_seconds = 0.0, write_seconds = 0.0;
  double busy_step_seconds = 0.0;  ///< mean of the steps that ran beside the writing
  std::int64_t busy_steps = 0;     ///< how many those were
};

class SaveMeasurement {
 public:
  SaveMeasurement(RandomTraining& training, CheckpointStore& store, Environment& env, HostGroup& world)
      : training_(training), store_(store), env_(env), world_(world) {}

  SaveCost save() {
    SaveCost cost;
    RunState state;
    state.stage = "bench";
    state.step = ++saves_;
    const auto shards = training_.shards();
    world_.barrier();
    store_.save(state, shards, *env_.compute);
    // Half a step in which the disk sleeps would count as busy: the first step is, the last may be in part.
    while (store_.save_in_flight()) {
      cost.busy_step_seconds += training_.step();
      ++cost.busy_steps;
      store_.poll();
    }
    cost.busy_step_seconds = world_.max(cost.busy_step_seconds / static_cast<double>(cost.busy_steps));
    cost.stall_seconds = world_.max(store_.statistics().stall_seconds);
    cost.write_seconds = world_.max(store_.statistics().write_seconds);
    return cost;
  }

 private:
  RandomTraining& training_;
  CheckpointStore& store_;
  Environment& env_;
  HostGroup& world_;
  std::int64_t saves_ = 0;
};

}  // namespace

void bench_checkpoint(const BenchOptions& bench, const JobOptions& options, HostGroup& world) {
  Environment env(options, world);
  RandomTraining training(options, env);
  const ScratchFolder folder(options, world);
  CheckpointStore store(folder.path() / "checkpoints", world, *env.ops, {.keep_last = 1});
  SaveMeasurement measurement(training, store, env, world);
  std::size_t bytes = 0;
  for (const NamedShard& shard : training.shards())
    if (shard.is_writer) bytes += shard.local.bytes();

  store.prepare(training.shards());
  for (int i = 0; i < 2; ++i) training.step();
  std::vector<double> quiet;
  for (std::int64_t i = 0; i < bench.steps; ++i) quiet.push_back(world.max(training.step()));
  const double step_seconds = median(quiet);

  const double plain_before = measure_plain_write(folder.path(), bytes, WriteMode::cached, world);
  const double direct_before = measure_plain_write(folder.path(), bytes, WriteMode::direct, world);
  const SaveCost first = measurement.save();
  std::vector<double> stalls, writes, busy;
  for (std::int64_t i = 0; i < bench.saves; ++i) {
    const SaveCost cost = measurement.save();
    stalls.push_back(cost.stall_seconds);
    writes.push_back(cost.write_seconds);
    busy.push_back(cost.busy_step_seconds);
  }
  const double plain_after = measure_plain_write(folder.path(), bytes, WriteMode::cached, world);
  const double direct_after = measure_plain_write(folder.path(), bytes, WriteMode::direct, world);
  const double all_bytes = world.sum(static_cast<double>(bytes));
  const double stall = median(stalls), write_speed = all_bytes / median(writes), busy_step = median(busy);
  const double plain = 0.5 * (plain_before + plain_after);
  if (world.rank() != 0) return;
  const ParameterCount count = parameter_count(options.model);
  fmt::print(
      "{{\"parameters\":{},\"dtype\":\"{}\",\"ranks\":{},\"threads\":{},\"step_seconds\":{:.4f},\"first_stall_"
      "seconds\":"
      "{:.4f},\"stall_seconds\":{:.4f},\"first_stall_share_of_step\":{:.4f},\"stall_share_of_step\":{:.4f},"
      "\"step_seconds_while_writing\":{:.4f},\"slowdown_while_writing\":{:.3f},\"bytes\":{:.0f},\"first_write_"
      "seconds\":"
      "{:.3f},\"write_seconds\":{:.3f},\"write_gb_per_second\":{:.3f},\"plain_write_gb_per_second\":[{:.3f},{:.3f}],"
      "\"share_of_plain_write\":{:.3f},\"direct_write_gb_per_second\":[{:.3f},{:.3f}],\"share_of_direct_write\":{:.3f}}"
      "}\n",
      count.total + count.mtp, to_string(options.run.dtype), world.size(), omp_get_max_threads(), step_seconds,
      first.stall_seconds, stall, first.stall_seconds / step_seconds, stall / step_seconds, busy_step,
      busy_step / step_seconds, all_bytes, first.write_seconds, median(writes), write_speed * 1e-9, plain_before * 1e-9,
      plain_after * 1e-9, write_speed / plain, direct_before * 1e-9, direct_after * 1e-9,
      2.0 * write_speed / (direct_before + direct_after));
}

}  // namespace athanor
