#include "jobs/machine_ceiling.hpp"
#include "src/base/stopwatch.hpp"

#include <algorithm>
#include <chrono>

namespace athanor {
namespace {

/// Seconds of the fastest of `repeats` calls after one to warm up.
template <class Work>
double fastest_seconds(int repeats, Stream& stream, const Work& work) {
  work();
  stream.synchronize();
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = Clock::now();
    work();
    stream.synchronize();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
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
    const double seconds =
        fastest_seconds(5, stream, [&] { ops.gemm(c, a, Transpose::no, b, Transpose::yes, false, stream); });
    const auto n = static_cast<double>(size);
    peak = std::max(peak, 2.0 * n * n * n / seconds);
  }
  return peak;
}

double measure_copy_bandwidth(Backend& ops, Stream& stream) {
  const std::int64_t elements = std::int64_t{64} << 20;
  const Tensor from = ops.empty({elements}, DType::f32), to = ops.empty({elements}, DType::f32);
  ops.fill(from, 1.0, stream);
  const double seconds = fastest_seconds(5, stream, [&] { ops.copy(to, from, stream); });
  return 2.0 * static_cast<double>(from.bytes()) / seconds;
}

}  // namespace athanor
