// Speed of attention as a share of this process's f32 matrix product (512 x 512 x 512). For one thread: rates are by
// the CPU time of the calling thread, so that a busy machine does not spoil them.
// Floating-point operations are counted as causal: S(S+1)/2 scores a head; the backward counts its five products.
//   OMP_NUM_THREADS=1 tests/bench/attention_bench
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor {
namespace {

struct Sizes {
  std::int64_t sequence, sequences, heads, kv_heads, qk_dim, v_dim;
};
const Sizes kSizes[] = {{512, 2, 8, 8, 64, 64},   {256, 4, 4, 4, 24, 16},  {256, 4, 4, 4, 48, 32},
                        {512, 1, 4, 4, 192, 128}, {1024, 1, 8, 2, 64, 64}, {2048, 1, 4, 4, 128, 128},
                        {4096, 1, 4, 4, 64, 64}};

class Bench {
 public:
  Bench() : ops(make_backend("cpu")), stream(ops->make_stream()) {}

  Tensor random(const Shape& shape, DType dtype) {
    std::vector<float> host(static_cast<std::size_t>(shape.numel()));
    const Philox random(1, RandomPurpose::test, static_cast<std::uint64_t>(shape.numel()));
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(random.uniform(i) - 0.5);
    const Tensor wide = upload_vector<float>(*ops, host, shape, *stream);
    Tensor tensor = ops->empty(shape, dtype);
    ops->copy(tensor, wide, *stream);
    return tensor;
  }
  Tensor ids(const std::vector<std::int32_t>& values) {
    return upload_vector<std::int32_t>(*ops, values, {static_cast<std::int64_t>(values.size())}, *stream);
  }
  /// f32 matrix product, best of 20.
  double peak_flops() {
    const std::int64_t n = 512;
    const Tensor a = random({n, n}, DType::f32), b = random({n, n}, DType::f32);
    Tensor c = ops->empty({n, n}, DType::f32);
    double best_seconds = 1e9;
    for (int i = 0; i < 20; ++i) {
      const auto start = std::chrono::steady_clock::now();
      ops->gemm(c, a, Transpose::no, b, Transpose::yes, false, *stream);
      best_seconds =
          std::min(best_seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return 2.0 * static_cast<double>(n * n * n) / best_seconds;
  }

  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> stream;
};

void report(benchmark::State& state, double flops, double peak) {
  using benchmark::Counter;
  state.counters["FLOP/s"] = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["of_f32_gemm"] = Counter(flops / peak, Counter::kIsIterationInvariantRate);
}

void training(benchmark::State& state, bool backward) {
  const Sizes& s = kSizes[state.range(0)];
  const DType dtype = state.range(1) == 0 ? DType::f32 : DType::bf16;
  const std::int64_t tokens = s.sequence * s.sequences;
  Bench bench;
  const double peak = bench.peak_flops();
  std::vector<std::int32_t> begin;
  for (std::int64_t t = 0; t < tokens; ++t) begin.push_back(static_cast<std::int32_t>(t / s.sequence * s.sequence));
  const Tensor key_begin = bench.ids(begin);
  const Tensor q = bench.random({tokens, s.heads * s.qk_dim}, dtype);
  const Tensor k = bench.random({tokens, s.kv_heads * s.qk_dim}, dtype);
  const Tensor v = bench.random({tokens, s.kv_heads * s.v_dim}, dtype);
  const Tensor d_o = bench.random({tokens, s.heads * s.v_dim}, dtype);
  Tensor o = bench.ops->empty(d_o.shape(), dtype), lse = bench.ops->empty({tokens, s.heads}, DType::f32);
  Tensor dq = bench.ops->empty(q.shape(), dtype), dk = bench.ops->empty(k.shape(), dtype);
  Tensor dv = bench.ops->empty(v.shape(), dtype);
  const AttentionArgs args{s.heads, s.kv_heads, s.qk_dim, s.v_dim, 1 / std::sqrt(static_cast<double>(s.qk_dim))};
  bench.ops->attention_forward(o, lse, q, k, v, key_begin, Tensor{}, args, *bench.stream);
  for (auto _ : state) {
    if (backward)
      bench.ops->attention_backward(dq, dk, dv, d_o, q, k, v, o, lse, key_begin, Tensor{}, args, *bench.stream);
    else
      bench.ops->attention_forward(o, lse, q, k, v, key_begin, Tensor{}, args, *bench.stream);
    bench.stream->synchronize();
  }
  const auto scores = 0.5 * static_cast<double>(tokens * s.heads * (s.sequence + 1));
  const std::int64_t widths = backward ? 3 * s.qk_dim + 2 * s.v_dim : s.qk_dim + s.v_dim;
  report(state, 2 * scores * static_cast<double>(widths), peak);
  state.SetLabel(std::string(to_string(dtype)) + " S=" + std::to_string(s.sequence) + " H=" + std::to_string(s.heads) +
                 "/" + std::to_string(s.kv_heads) + " " + std::to_string(s.qk_dim) + "/" + std::to_string(s.v_dim));
}
void forward(benchmark::State& state) { training(state, false); }
void backward(benchmark::State& state) { training(state, true); }
BENCHMARK(forward)->ArgsProduct({benchmark::CreateDenseRange(0, 6, 1), {0, 1}});
BENCHMARK(backward)->ArgsProduct({benchmark::CreateDenseRange(0, 6, 1), {0, 1}});

/// One row a slot against 2048 cached rows: bytes of cache read a second.
void decode(benchmark::State& state) {
  const DType dtype = state.range(0) == 0 ? DType::f32 : DType::bf16;
  const std::int64_t slots = 16, length = 2048, heads = 8, head = 64;
  Bench bench;
  const Tensor k = bench.random({slots * length, heads * head}, dtype), v = bench.random(k.shape(), dtype);
  const Tensor q = bench.random({slots, heads * head}, dtype);
  Tensor o = bench.ops->empty(q.shape(), dtype);
  std::vector<std::int32_t> slot_ids;
  for (std::int32_t i = 0; i < slots; ++i) slot_ids.push_back(i);
  std::vector<std::int32_t> pages;  // of 16 rows, as many sequences at work come to have them
  for (std::int32_t slot = 0; slot < slots; ++slot)
    for (std::int32_t i = 0; i < length / 16; ++i) pages.push_back(i * static_cast<std::int32_t>(slots) + slot);
  const Tensor pages_SP = bench.ids(pages).reshaped({slots, length / 16});
  const Tensor ids = bench.ids(slot_ids), lengths = bench.ids(std::vector<std::int32_t>(slots, length));
  for (auto _ : state) {
    bench.ops->attention_cached(o, q, k, v, pages_SP, ids, lengths, 16, {heads, heads, head, head, 0.125},
                                *bench.stream);
    bench.stream->synchronize();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(k.bytes() + v.bytes()));
  state.SetLabel(std::string(to_string(dtype)));
}
BENCHMARK(decode)->Arg(0)->Arg(1);

}  // namespace
}  // namespace athanor

BENCHMARK_MAIN();
