#include "jobs/bench/operation_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "jobs/machine_ceiling.hpp"
#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {

OperationBench::OperationBench(Backend& ops, Stream& stream, DType dtype, bool speaks)
    : ops_(ops),
      stream_(stream),
      dtype_(dtype),
      acc_(accumulation_dtype(dtype)),
      s_(sizes_for(ops.device())),
      peak_(measure_gemm_peak(ops, dtype, stream)),
      copy_(measure_copy_bandwidth(ops, stream)),
      speaks_(speaks) {}

/// A GPU wants work enough to fill it, and tensors beyond its caches; a CPU is measured to test the measurement.
OperationBench::Sizes OperationBench::sizes_for(Device device) {
  if (device.is_cpu())
    return {.T = 128,
            .R = 256,
            .D = 128,
            .F = 256,
            .H = 4,
            .Q = 64,
            .V = 1024,
            .B = 4,
            .C = 64,
            .E = 8,
            .batch_seconds = 0.001};
  return {.T = 8192,
          .R = 32768,
          .D = 4096,
          .F = 14336,
          .H = 32,
          .Q = 128,
          .V = 131072,
          .B = 64,
          .C = 4096,
          .E = 64,
          .batch_seconds = 0.02};
}

std::vector<std::string> OperationBench::run() {
  if (speaks_)
    fmt::print(
        "{} ({}) in {}: matrix products at best {:.1f} GFLOP/s, copies {:.1f} GB/s\n{:<28} {:>12} {:>14}  {:>5}\n",
        to_string(ops_.device()), ops_.description(), to_string(dtype_), peak_ * 1e-9, copy_ * 1e-9, "operation",
        "microseconds", "GFLOP/s, GB/s", "share");
  const std::int64_t V = s_.Q, H = s_.H;
  family("gemm", [&] { products(); });
  if (dtype_ == DType::bf16) family("fp8", [&] { fp8_products(); });
  family("experts", [&] { expert_products(); });
  family("attention", [&] { attention("attention", H, s_.Q, V); });
  if (dtype_ == DType::bf16) {  // others are for tests: long sequences take them seconds
    family("attention, grouped", [&] { attention("attention, grouped", H / 4, s_.Q, V); });
    family("attention, mla", [&] { attention("attention, mla", H, s_.Q + s_.Q / 2, V); });
  }
  family("decode", [&] { decode_products(); });
  family("decode, grouped", [&] { decode_attention("decode, grouped", H, H / 4, s_.Q, V, false); });
  family("decode, mla 16 heads", [&] { decode_attention("decode, mla 16 heads", 16, 1, 576, 512, true); });
  family("decode, mla 128 heads", [&] { decode_attention("decode, mla 128 heads", 128, 1, 576, 512, true); });
  family("sampling", [&] { sampling(); });
  family("norms", [&] { norms_and_sums(); });
  family("rope", [&] { rotation_and_assembly(); });
  family("losses", [&] { tables_and_losses(); });
  family("routing", [&] { routing(); });
  family("adamw", [&] { optimizer(); });
  return failures_;
}

Tensor OperationBench::numbers(const Shape& shape, DType dtype) {
  Tensor tensor = ops_.empty(shape, dtype);
  ops_.fill_normal(tensor, 1.0, ++draws_, whole("bench.gpu", dtype, shape), stream_);
  return tensor;
}

Tensor OperationBench::ids(std::span<const std::int32_t> values) {
  return upload_vector<std::int32_t>(ops_, values, {static_cast<std::int64_t>(values.size())}, stream_);
}

Tensor OperationBench::random_ids(std::int64_t count, std::int64_t end) {
  const Philox random(++draws_, RandomPurpose::test, 0);
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>(random.word64(i) % static_cast<std::uint64_t>(end));
  return ids(values);
}

void OperationBench::family(const std::string& name, const std::function<void()>& rows) {
  try {
    rows();
  } catch (const Error& error) {
    failures_.push_back(name + ": " + error.what());
    if (speaks_) fmt::print("{:<28} failed: {}\n", name, error.what());
  }
}

/// Seconds of a call.
double OperationBench::median_seconds(const std::function<void()>& call) {
  constexpr std::size_t kBatches = 7;
  const auto batch = [&](std::int64_t calls) {
    const auto begin = Clock::now();
    for (std::int64_t i = 0; i < calls; ++i) call();
    stream_.synchronize();
    return seconds_since(begin);
  };
  batch(2);  // warm-up
  const auto calls = std::max(std::int64_t{1}, static_cast<std::int64_t>(s_.batch_seconds / std::max(batch(1), 1e-7)));
  std::vector<double> seconds;
  for (std::size_t i = 0; i < kBatches; ++i) seconds.push_back(batch(calls) / static_cast<double>(calls));
  std::nth_element(seconds.begin(), seconds.begin() + kBatches / 2, seconds.end());
  return seconds[kBatches / 2];
}

void OperationBench::tell(const std::string& name, const Work& work, const std::function<void()>& call) {
  family(name, [&] {
    const double seconds = median_seconds(call);
    if (!speaks_) return;
    const bool computes = work.flops / peak_ > work.bytes / copy_;
    const double done = (computes ? work.flops : work.bytes) / seconds, share = done / (computes ? peak_ : copy_);
    fmt::print("{:<28} {:>12.1f} {:>14.1f}  {:>5.3f}\n", name, seconds * 1e6, done * 1e-9, share);
    fmt::print(
        "{{\"bench\":\"gpu\",\"device\":\"{}\",\"dtype\":\"{}\",\"operation\":\"{}\",\"seconds\":{:.3e},\"{}\":{:.1f},"
        "\"share_of_ceiling\":{:.4f}}}\n",
        to_string(ops_.device()), to_string(dtype_), name, seconds, computes ? "gflops" : "gb_per_second", done * 1e-9,
        share);
    std::fflush(stdout);  // rows are there also where a later one ends the process
  });
}

}  // namespace athanor
