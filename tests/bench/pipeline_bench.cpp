// Pipeline schedules with artificial delays: how near the runner comes to the clock of simulate(), whatever the number
// of cores. Every rank's layers take 10 ms forward and as much for each part of the backward; actions sleep and tensors
// of 64 KiB travel. A rank with two chunks takes half the time for each.
//   mpirun --oversubscribe --bind-to none -np 4 build/tests/bench/pipeline_bench
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <thread>

#include "parallel/mpi/mpi_communicator.hpp"
#include "parallel/mpi/mpi_session.hpp"
#include "parallel/pipeline/make_schedules.hpp"
#include "parallel/pipeline/runner.hpp"
#include "parallel/pipeline/simulate.hpp"

namespace athanor {
namespace {

constexpr double kUnitSeconds = 0.010;
constexpr int kMicroBatches = 16, kRepeats = 5;
const Shape kActivations{128, 128};

class SleepingChunk final : public ModelChunk {
 public:
  SleepingChunk(double seconds, bool is_first, bool is_last)
      : seconds_(seconds), is_first_(is_first), is_last_(is_last) {}
  Tensor forward(ExecContext& ctx, int, const Tensor&) override { return work(ctx, is_last_); }
  Tensor backward_input(ExecContext& ctx, int, const Tensor&) override { return work(ctx, is_first_); }
  void backward_weight(ExecContext& ctx, int) override { work(ctx, true); }
  std::vector<Parameter*> parameters() override { return {}; }
  std::vector<StateTensor*> states() override { return {}; }
  StepSums& sums() override { return sums_; }

 private:
  Tensor work(ExecContext& ctx, bool is_end) const {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds_));
    if (is_end) return {};
    Tensor out = ctx.empty(kActivations);
    ctx.ops.fill(out, 1.0, ctx.compute);
    return out;
  }
  double seconds_;
  bool is_first_, is_last_;
  StepSums sums_;
};

void measure(const PipelineSchedule& schedule, HostGroup& world) {
  const auto ops = make_backend("cpu");
  const auto stream = ops->make_stream();
  MpiCommunicator comm(world);
  PipelineRunner runner(schedule, comm, [](const MicroBatch&) { return kActivations; });
  const double part = static_cast<double>(schedule.num_ranks) / schedule.num_chunks;
  std::vector<std::unique_ptr<SleepingChunk>> own;
  std::vector<ModelChunk*> chunks;
  for (int c = 0; c < schedule.num_chunks; ++c) {
    own.push_back(std::make_unique<SleepingChunk>(part * kUnitSeconds, c == 0, c + 1 == schedule.num_chunks));
    chunks.push_back(own.back().get());
  }
  const std::vector<MicroBatch> batches(static_cast<std::size_t>(schedule.num_micro_batches));
  double best = 1e9;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    world.barrier();
    const auto begin = std::chrono::steady_clock::now();
    runner.run(
        [&](const MicroBatch& batch, bool) {
          return ExecContext{*ops, *stream, *stream, batch};
        },
        chunks, batches);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    best = std::min(best, world.max(taken.count()));
  }
  const ScheduleTimes ideal = simulate(schedule, {part, part, part, 3 * part, 0});
  if (world.rank() == 0)
    fmt::print("{:<12} {:>10.1f} {:>12.1f} {:>12.1f} % {:>12.1f} %\n", schedule.name, best * 1e3,
               ideal.makespan * kUnitSeconds * 1e3, 100.0 * (1.0 - ideal.busy[0] * kUnitSeconds / best),
               100.0 * ideal.idle_share());
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  athanor::MpiSession mpi(argc, argv);
  athanor::HostGroup world = athanor::HostGroup::world();
  if (world.rank() == 0)
    fmt::print(
        "{} ranks, {} micro-batches, best of {}\nschedule     measured ms   by clock ms  idle measured  idle by "
        "clock\n",
        world.size(), athanor::kMicroBatches, athanor::kRepeats);
  for (const std::string& name : athanor::schedule_names())
    athanor::measure(athanor::make_schedule(name, world.size(), athanor::kMicroBatches), world);
}
