// athanor bench gpu: what a device gets out of each operation, as a share of the ceiling that bounds it, and what
// messages between ranks carry by size. Through the Backend interface alone, so that it runs on every device.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "jobs/bench/bench.hpp"
#include "jobs/environment.hpp"
#include "jobs/machine_ceiling.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

/// T tokens, D model width, F inner width, H heads of Q entries.
struct Sizes {
  std::int64_t T, D, F, H, Q, largest_message_bytes;
};

/// A GPU wants work enough to fill it; a CPU is measured to test the measurement.
Sizes sizes_for(Device device) {
  if (device.is_cpu()) return {256, 256, 512, 4, 64, std::int64_t{1} << 20};
  return {8192, 4096, 14336, 32, 128, std::int64_t{256} << 20};
}

/// Seconds of a call: the median of several batches, each long enough for a clock.
double median_seconds(Stream& stream, const std::function<void()>& call) {
  constexpr double kBatchSeconds = 0.02;
  constexpr std::size_t kBatches = 7;
  const auto batch = [&](std::int64_t calls) {
    const auto begin = Clock::now();
    for (std::int64_t i = 0; i < calls; ++i) call();
    stream.synchronize();
    return seconds_since(begin);
  };
  batch(2);  // warm-up
  const auto calls = std::max(std::int64_t{1}, static_cast<std::int64_t>(kBatchSeconds / std::max(batch(1), 1e-7)));
  std::vector<double> seconds;
  for (std::size_t i = 0; i < kBatches; ++i) seconds.push_back(batch(calls) / static_cast<double>(calls));
  std::nth_element(seconds.begin(), seconds.begin() + kBatches / 2, seconds.end());
  return seconds[kBatches / 2];
}

class OperationBench {
 public:
  OperationBench(Backend& ops, Stream& stream, DType dtype)
      : ops_(ops),
        stream_(stream),
        dtype_(dtype),
        s_(sizes_for(ops.device())),
        peak_(measure_gemm_peak(ops, dtype, stream)),
        copy_(measure_copy_bandwidth(ops, stream)) {}

  void run(bool speaks) {
    speaks_ = speaks;
    if (speaks)
      fmt::print(
          "{} ({}) in {}: matrix products at best {:.1f} GFLOP/s, copies {:.1f} GB/s\n{:<24} {:>12} {:>14}  {:>5}\n",
          to_string(ops_.device()), ops_.description(), to_string(dtype_), peak_ * 1e-9, copy_ * 1e-9, "operation",
          "microseconds", "GFLOP/s, GB/s", "share");
    matrices();
    if (dtype_ == DType::bf16) fp8();
    experts();
    attention();
    rows();
    optimizer();
  }

 private:
  Tensor numbers(const Shape& shape, DType dtype) {
    Tensor tensor = ops_.empty(shape, dtype);
    ops_.fill_normal(tensor, 1.0, ++draws_, whole("bench.gpu", dtype, shape), stream_);
    return tensor;
  }
  Tensor numbers(const Shape& shape) { return numbers(shape, dtype_); }

  void tell(const char* name, double work, double ceiling, const char* unit, const std::function<void()>& call) {
    const double seconds = median_seconds(stream_, call);
    if (!speaks_) return;
    fmt::print("{:<24} {:>12.1f} {:>14.1f}  {:>5.3f}\n", name, seconds * 1e6, work / seconds * 1e-9,
               work / seconds / ceiling);
    fmt::print(
        "{{\"bench\":\"gpu\",\"device\":\"{}\",\"dtype\":\"{}\",\"operation\":\"{}\",\"seconds\":{:.3e},\"{}\":{:.1f},"
        "\"share_of_ceiling\":{:.4f}}}\n",
        to_string(ops_.device()), to_string(dtype_), name, seconds, unit, work / seconds * 1e-9,
        work / seconds / ceiling);
  }
  void computes(const char* name, std::int64_t flops, const std::function<void()>& call) {
    tell(name, static_cast<double>(flops), peak_, "gflops", call);
  }
  /// @param bytes  read and written where every tensor moves once.
  void moves(const char* name, std::size_t bytes, const std::function<void()>& call) {
    tell(name, static_cast<double>(bytes), copy_, "gb_per_second", call);
  }

  void matrices() {
    const Tensor x_TD = numbers({s_.T, s_.D}), w_FD = numbers({s_.F, s_.D}), y_TF = ops_.empty({s_.T, s_.F}, dtype_);
    const Tensor dw_FD = numbers({s_.F, s_.D}, accumulation_dtype(dtype_));
    const std::int64_t flops = 2 * s_.T * s_.D * s_.F;
    computes("gemm forward", flops,
             [&] { ops_.gemm(y_TF, x_TD, Transpose::no, w_FD, Transpose::yes, false, stream_); });
    computes("gemm input gradient", flops,
             [&] { ops_.gemm(x_TD, y_TF, Transpose::no, w_FD, Transpose::no, false, stream_); });
    computes("gemm weight gradient", flops,
             [&] { ops_.gemm(dw_FD, y_TF, Transpose::yes, x_TD, Transpose::no, true, stream_); });
  }

  /// Shares are of the peak of bf16: what FP8 is to beat.
  void fp8() {
    const Tensor x_TD = numbers({s_.T, s_.D}), w_FD = numbers({s_.F, s_.D}), y_TF = ops_.empty({s_.T, s_.F}, dtype_);
    const Tensor dw_FD = numbers({s_.F, s_.D}, DType::f32);
    const Fp8Matrix x = ops_.empty_fp8_rows(s_.T, s_.D), w = ops_.empty_fp8_blocks({s_.F, s_.D});
    const Fp8Matrix y = ops_.empty_fp8_rows(s_.T, s_.F), turned_w = ops_.empty_fp8_blocks({s_.D, s_.F});
    const Fp8Matrix turned_x = ops_.empty_fp8_columns(s_.T, s_.D, 1), turned_y = ops_.empty_fp8_columns(s_.T, s_.F, 1);
    ops_.fill(y_TF, 1.0, stream_);
    const auto made = [](const Fp8Matrix& matrix) { return matrix.values.bytes() + matrix.scales.bytes(); };
    moves("fp8 of rows", x_TD.bytes() + made(x), [&] { ops_.quantize_fp8_rows(x, x_TD, stream_); });
    moves("fp8 of columns", x_TD.bytes() + made(turned_x),
          [&] { ops_.quantize_fp8_columns(turned_x, x_TD, Tensor{}, stream_); });
    moves("fp8 of weights", w_FD.bytes() + made(w), [&] { ops_.quantize_fp8_blocks(w, w_FD, Transpose::no, stream_); });
    moves("fp8 of weights, turned", w_FD.bytes() + made(turned_w),
          [&] { ops_.quantize_fp8_blocks(turned_w, w_FD, Transpose::yes, stream_); });
    ops_.quantize_fp8_rows(y, y_TF, stream_);
    ops_.quantize_fp8_columns(turned_y, y_TF, Tensor{}, stream_);
    const std::int64_t flops = 2 * s_.T * s_.D * s_.F;
    computes("fp8 forward", flops, [&] { ops_.gemm_fp8(y_TF, x, w, false, stream_); });
    computes("fp8 input gradient", flops, [&] { ops_.gemm_fp8(x_TD, y, turned_w, false, stream_); });
    computes("fp8 weight gradient", flops, [&] { ops_.gemm_fp8(dw_FD, turned_y, turned_x, true, stream_); });
  }

  /// The same arithmetic as "gemm", cut into 8 groups of rows of unlike sizes.
  void experts() {
    constexpr std::int64_t kGroups = 8;
    const std::int64_t inner = s_.F / kGroups;
    std::vector<std::int32_t> offsets;
    for (std::int64_t e = 0; e <= kGroups; ++e)
      offsets.push_back(static_cast<std::int32_t>(s_.T * e * (e + kGroups) / (2 * kGroups * kGroups)));
    const Tensor offsets_E1 = upload_vector<std::int32_t>(ops_, offsets, {kGroups + 1}, stream_);
    const Tensor x_RD = numbers({s_.T, s_.D}), w_EFD = numbers({kGroups, inner, s_.D});
    const Tensor y_RF = ops_.empty({s_.T, inner}, dtype_);
    const Tensor dw_EFD = numbers({kGroups, inner, s_.D}, accumulation_dtype(dtype_));
    const std::int64_t flops = 2 * s_.T * s_.D * inner;
    computes("experts forward", flops, [&] { ops_.grouped_gemm(y_RF, x_RD, w_EFD, offsets_E1, stream_); });
    computes("experts input gradient", flops,
             [&] { ops_.grouped_gemm_backward_input(x_RD, y_RF, w_EFD, offsets_E1, false, stream_); });
    computes("experts weight gradient", flops,
             [&] { ops_.grouped_gemm_backward_weight(dw_EFD, y_RF, x_RD, offsets_E1, stream_); });
    if (dtype_ != DType::bf16) return;
    const Fp8Matrix x = ops_.empty_fp8_rows(s_.T, s_.D), w = ops_.empty_fp8_blocks({kGroups, inner, s_.D});
    ops_.quantize_fp8_rows(x, x_RD, stream_);
    ops_.quantize_fp8_blocks(w, w_EFD, Transpose::no, stream_);
    computes("experts fp8 forward", flops, [&] { ops_.grouped_gemm_fp8(y_RF, x, w, offsets_E1, false, stream_); });
  }

  void attention() {
    const std::int64_t width = s_.H * s_.Q;
    const Tensor q = numbers({s_.T, width}), k = numbers({s_.T, width}), v = numbers({s_.T, width});
    const Tensor o = ops_.empty({s_.T, width}, dtype_), d_o = numbers({s_.T, width});
    const Tensor dq = ops_.empty(q.shape(), dtype_), dk = ops_.empty(q.shape(), dtype_),
                 dv = ops_.empty(q.shape(), dtype_);
    const Tensor lse_TH = ops_.empty({s_.T, s_.H}, accumulation_dtype(dtype_));
    const Tensor key_begin_T = ops_.empty({s_.T}, DType::i32);
    ops_.fill(key_begin_T, 0.0, stream_);
    const AttentionArgs args{.num_heads = s_.H, .num_kv_heads = s_.H, .qk_dim = s_.Q, .v_dim = s_.Q, .scale = 0.1};
    const std::int64_t flops = 2 * s_.T * s_.T * width;  // two products over the lower half of [T, T]
    computes("attention forward", flops,
             [&] { ops_.attention_forward(o, lse_TH, q, k, v, key_begin_T, Tensor{}, args, stream_); });
    computes("attention backward", flops * 5 / 2, [&] {
      ops_.attention_backward(dq, dk, dv, d_o, q, k, v, o, lse_TH, key_begin_T, Tensor{}, args, stream_);
    });
  }

  void rows() {
    const Tensor x_TD = numbers({s_.T, s_.D}), y_TD = ops_.empty({s_.T, s_.D}, dtype_), w_D = numbers({s_.D});
    const Tensor rstd_T = ops_.empty({s_.T}, accumulation_dtype(dtype_));
    moves("rms_norm forward", 2 * x_TD.bytes() + rstd_T.bytes(),
          [&] { ops_.rms_norm_forward(y_TD, rstd_T, x_TD, w_D, 1e-6, stream_); });
    moves("rms_norm backward", 3 * x_TD.bytes() + rstd_T.bytes(),
          [&] { ops_.rms_norm_backward_input(y_TD, x_TD, x_TD, w_D, rstd_T, Tensor{}, stream_); });
    moves("add", 3 * x_TD.bytes(), [&] { ops_.add(y_TD, x_TD, x_TD, stream_); });
    const Tensor gate_TF = numbers({s_.T, s_.F}), up_TF = numbers({s_.T, s_.F}), inner_TF = numbers({s_.T, s_.F});
    moves("swiglu forward", 3 * gate_TF.bytes(), [&] { ops_.swiglu_forward(inner_TF, gate_TF, up_TF, stream_); });
  }

  void optimizer() {
    const DType acc = accumulation_dtype(dtype_);
    const Shape shape{s_.D * s_.F};
    const Tensor master = numbers(shape, acc), grad = numbers(shape, acc), m = ops_.empty(shape, acc),
                 v = ops_.empty(shape, acc);
    const Tensor weight = dtype_ == acc ? Tensor{} : ops_.empty(shape, dtype_);
    ops_.fill(m, 0.0, stream_);
    ops_.fill(v, 0.0, stream_);
    // Reads master, both moments and the gradient, writes all but the gradient.
    moves("adamw", 7 * master.bytes() + (weight.defined() ? weight.bytes() : 0),
          [&] { ops_.adamw(weight, master, m, v, grad, 1.0, AdamWArgs{.lr = 1e-3}, stream_); });
  }

  Backend& ops_;
  Stream& stream_;
  DType dtype_;
  Sizes s_;
  double peak_, copy_;
  bool speaks_ = false;
  std::uint64_t draws_ = 0;
};

/// Bus bandwidth, which does not depend on the number of ranks where links are even: all-reduce carries every byte
/// 2 (n - 1) / n times, all-to-all (n - 1) / n times. Definition: NVIDIA nccl-tests, doc/PERFORMANCE.md.
void bench_messages(Environment& env, HostGroup& world) {
  const auto ranks = static_cast<std::int64_t>(world.size());
  Communicator& comm = env.mesh->along(Axis::world);
  if (world.rank() == 0)
    fmt::print("{} ranks by {}\n{:<24} {:>12} {:>12} {:>14}\n", ranks, env.transport, "messages", "bytes",
               "microseconds", "bus, GB/s");
  for (std::int64_t bytes = 1024; bytes <= sizes_for(env.ops->device()).largest_message_bytes; bytes *= 4) {
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
  for (const DType dtype : {DType::bf16, DType::f32})
    OperationBench(*env.ops, *env.compute, dtype).run(world.rank() == 0);
  world.barrier();
  if (world.size() > 1) bench_messages(env, world);
}

}  // namespace athanor
