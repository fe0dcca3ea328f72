// athanor bench gpu: what a device gets out of each operation, as a share of the ceiling that bounds it
// (operation_bench.hpp), and what messages between ranks carry by size.
#include <fmt/format.h>

#include <functional>
#include <vector>

#include "jobs/bench/bench.hpp"
#include "jobs/bench/operation_bench.hpp"
#include "jobs/environment.hpp"
#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

/// Bus bandwidth, which does not depend on the number of ranks where links are even: all-reduce carries every byte
/// 2 (n - 1) / n times, all-to-all (n - 1) / n times. Definition: NVIDIA nccl-tests, doc/PERFORMANCE.md.
void bench_messages(Environment& env, HostGroup& world) {
  const auto ranks = static_cast<std::int64_t>(world.size());
  Communicator& comm = env.mesh->along(Axis::world);
  if (world.rank() == 0)
    fmt::print("{} ranks by {}\n{:<24} {:>12} {:>12} {:>14}\n", ranks, env.transport, "messages", "bytes",
               "microseconds", "bus, GB/s");
  const std::int64_t largest = std::int64_t{env.ops->device().is_cpu() ? 1 : 256} << 20;
  for (std::int64_t bytes = 1024; bytes <= largest; bytes *= 4) {
    const std::int64_t rows = bytes / 4 / ranks;
    const Tensor in = env.ops->empty({rows * ranks}, DType::f32), out = env.ops->empty({rows * ranks}, DType::f32);
    env.ops->fill(in, 0.0, *env.compute);
    const std::vector<std::int64_t> each(static_cast<std::size_t>(ranks), rows);
    const auto tell = [&](const char* name, double times, const std::function<void()>& call) {
      constexpr int kCalls = 10;  // the same on all ranks
      call();
      env.compute->synchronize();
      world.barrier();
      const auto begin = Clock::now();
      for (int i = 0; i < kCalls; ++i) call();
      env.compute->synchronize();
      const double seconds = world.max(seconds_since(begin)) / kCalls;
      const double carried = times * static_cast<double>(in.bytes()) * static_cast<double>(ranks - 1) /
                             static_cast<double>(ranks) / seconds * 1e-9;
      if (world.rank() != 0) return;
      fmt::print("{:<22} {:>12} {:>12.1f} {:>14.3f}\n", name, in.bytes(), seconds * 1e6, carried);
      fmt::print(
          "{{\"bench\":\"gpu\",\"messages\":\"{}\",\"ranks\":{},\"bytes\":{},\"seconds\":{:.3e},"
          "\"bus_gb_per_second\":{:.3f}}}\n",
          name, ranks, in.bytes(), seconds, carried);
    };
    tell("all_reduce", 2.0, [&] { comm.all_reduce(in, ReduceOp::sum, *env.compute); });
    tell("all_to_all", 1.0, [&] { comm.all_to_all_v(out, each, in, each, *env.compute); });
  }
}

}  // namespace

void bench_gpu(const BenchOptions& bench, const JobOptions& options, HostGroup& world) {
  JobOptions own = options;
  own.run.device = bench.device;
  own.parallel.pp = own.parallel.cp = own.parallel.tp = own.parallel.ep = 1;  // one group of all ranks
  own.parallel.dp = 0;
  Environment env(own, world);
  std::string failed;
  for (const DType dtype : {DType::bf16, DType::f32})
    for (const std::string& failure : OperationBench(*env.ops, *env.compute, dtype, world.rank() == 0).run())
      failed += fmt::format("\n{}: {}", to_string(dtype), failure);
  world.barrier();
  if (world.size() > 1) bench_messages(env, world);
  if (!failed.empty()) throw Error("bench gpu: operations that were not measured:" + failed);
}

}  // namespace athanor
