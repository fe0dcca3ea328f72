#include "jobs/machine_ceiling.hpp"
#include "src/base/stopwatch.hpp"

#include <algorithm>

namespace athanor {
namespace {

/// Calls between two waits: what starting and waiting costs a GPU is not the ceiling of its work.
int calls_at_once(const Backend& ops) { return ops.device().is_cpu() ? 1 : 10; }

/// Seconds of a call: the fastest of 5 rounds of `calls` of them, after a round to warm up.
template <class Work>
double fastest_seconds(int calls, Stream& stream, const Work& work) {
  constexpr int kRounds = 5;
  double best = 1e30;
  for (int round = 0; round <= kRounds; ++round) {
    const auto begin = Clock::now();
    for (int i = 0; i < calls; ++i) work();
    stream.synchronize();
    if (round > 0) best = std::min(best, seconds_since(begin) / calls);
  }
  return best;
}

}  // namespace

double measure_gemm_peak(Backend& ops, DType dtype, Stream& stream) {
  double peak = 0.0;
  const bool is_cpu = ops.device().is_cpu();
  for (const std::int64_t size : {512, 1024, 2048, 4096, 8192}) {
    if (is_cpu && size > 2048) break;  // a CPU is full by then; a GPU is not
    const Tensor a = ops.empty({size, size}, dtype), b = ops.empty({size, size}, dtype),
                 c = ops.empty({size, size}, dtype);
    const ShardSpec numbers = whole("bench.gemm", dtype, a.shape());
    ops.fill_normal(a, 1.0, 1, numbers, stream);
    ops.fill_normal(b, 1.0, 2, numbers, stream);
    const double seconds = fastest_seconds(calls_at_once(ops), stream,
                                           [&] { ops.gemm(c, a, Transpose::no, b, Transpose::yes, false, stream); });
    const auto n = static_cast<double>(size);
    peak = std::max(peak, 2.0 * n * n * n / seconds);
  }
  return peak;
}

double measure_copy_bandwidth(Backend& ops, Stream& stream) {
  // Beyond the caches: 256 MiB, or 1 GiB where 50 MB of a GPU's would hold a part of that.
  const std::int64_t elements = std::int64_t{ops.device().is_cpu() ? 64 : 256} << 20;
  const Tensor from = ops.empty({elements}, DType::f32), to = ops.empty({elements}, DType::f32);
  ops.fill(from, 1.0, stream);
  const double seconds = fastest_seconds(calls_at_once(ops), stream, [&] { ops.copy(to, from, stream); });
  return 2.0 * static_cast<double>(from.bytes()) / seconds;
}

}  // namespace athanor
