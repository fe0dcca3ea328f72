// The optimizer's passes over flat tensors: AdamW in one fused pass, and what decides a step (norm, non-finite counts).
// Sums run in f64 over fixed pieces that are added in order, so they depend on the length alone.
#include <atomic>
#include <cmath>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::load;
using cpu::parallel_rows;
using cpu::put;

constexpr std::int64_t kSumPiece = 65536;
constexpr std::int64_t kUpdatePiece = 4096;

template <class T>
double piece_sum_squares(const T* x, std::int64_t count) {
  constexpr std::int64_t kLanes = 32;
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
#pragma omp simd
    for (std::int64_t l = 0; l < kLanes; ++l) {
      const auto value = static_cast<double>(load(x[i + l]));
      lanes[l] += value * value;
    }
  }
  double sum = 0.0;
  for (; i < count; ++i) sum += static_cast<double>(load(x[i])) * static_cast<double>(load(x[i]));
  for (const double lane : lanes) sum += lane;
  return sum;
}

/// How many of x[0..count) are infinite or NaN: those whose difference from themselves is not 0.
template <class T>
std::int64_t piece_count_nonfinite(const T* x, std::int64_t count) {
  std::int32_t found = 0;
#pragma omp simd reduction(+ : found)
  for (std::int64_t i = 0; i < count; ++i) found += load(x[i]) - load(x[i]) == 0 ? 0 : 1;
  return found;
}

/// The scalars of one step, in the type of the master weights.
template <class Acc>
struct Step {
  Acc grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, keep, rate, inverse_root2, eps;

  Step(double scale, const AdamWArgs& a) {
    const double correction1 = 1.0 - std::pow(a.beta1, static_cast<double>(a.step));
    const double correction2 = 1.0 - std::pow(a.beta2, static_cast<double>(a.step));
    grad_scale = static_cast<Acc>(scale);
    beta1 = static_cast<Acc>(a.beta1);
    one_minus_beta1 = static_cast<Acc>(1.0 - a.beta1);
    beta2 = static_cast<Acc>(a.beta2);
    one_minus_beta2 = static_cast<Acc>(1.0 - a.beta2);
    keep = static_cast<Acc>(1.0 - a.lr * a.weight_decay);
    rate = static_cast<Acc>(a.lr / correction1);
    inverse_root2 = static_cast<Acc>(1.0 / std::sqrt(correction2));
    eps = static_cast<Acc>(a.eps);
  }
};

/// One fused pass over [begin, end). weight may be null.
template <class Acc, class Moment, class Weight>
void update(Weight* weight, Acc* master, Moment* m, Moment* v, const Acc* grad, const Step<Acc> s, std::int64_t begin,
            std::int64_t end) {
  const auto element = [&](std::int64_t i) {
    const Acc g = grad[i] * s.grad_scale;
    const Acc first = s.beta1 * static_cast<Acc>(load(m[i])) + s.one_minus_beta1 * g;
    const Acc second = s.beta2 * static_cast<Acc>(load(v[i])) + s.one_minus_beta2 * (g * g);
    put(m[i], static_cast<cpu::acc_t<Moment>>(first));
    put(v[i], static_cast<cpu::acc_t<Moment>>(second));
    const Acc moved = master[i] * s.keep - s.rate * first / (std::sqrt(second) * s.inverse_root2 + s.eps);
    master[i] = moved;
    return moved;
  };
  if (weight) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) put(weight[i], static_cast<cpu::acc_t<Weight>>(element(i)));
  } else {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) element(i);
  }
}

}  // namespace

void CpuBackend::sum_squares(Tensor out_1, const Tensor& x, Stream& stream) {
  require(out_1.numel() == 1 && out_1.dtype() == DType::f64, "sum_squares", "one f64", out_1);
  cpu::dispatch_floating(x.dtype(), "sum_squares", [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      thread_local std::vector<double> buffer;
      const std::int64_t pieces = (x.numel() + kSumPiece - 1) / kSumPiece;
      if (buffer.size() < static_cast<std::size_t>(pieces)) buffer.resize(static_cast<std::size_t>(pieces));
      double* partial = buffer.data();  // by pointer: other threads have a `buffer` of their own
      const T* values = data<T>(x);
      parallel_rows(x.numel(), kSumPiece, sizeof(T), [&](std::int64_t begin, std::int64_t end) {
        partial[begin / kSumPiece] = piece_sum_squares(values + begin, end - begin);
      });
      double sum = 0.0;
      for (std::int64_t i = 0; i < pieces; ++i) sum += partial[i];
      *data<double>(out_1) += sum;
    });
  });
}

void CpuBackend::count_nonfinite(Tensor out_1, const Tensor& x, Stream& stream) {
  require(out_1.numel() == 1 && out_1.dtype() == DType::i64, "count_nonfinite", "one i64", out_1);
  cpu::dispatch_floating(x.dtype(), "count_nonfinite", [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      std::atomic<std::int64_t> total{0};  // integers: the order does not matter
      const T* values = data<T>(x);
      parallel_rows(x.numel(), kSumPiece, sizeof(T), [&](std::int64_t begin, std::int64_t end) {
        total += piece_count_nonfinite(values + begin, end - begin);
      });
      *data<std::int64_t>(out_1) += total;
    });
  });
}

void CpuBackend::adamw(Tensor weight, Tensor master, Tensor m, Tensor v, const Tensor& grad, double grad_scale,
                       const AdamWArgs& args, Stream& stream) {
  const std::int64_t count = master.numel();
  require_adamw("adamw", weight, master, m, v, grad, args);
  cpu::dispatch_acc(master.dtype(), "adamw", [&](auto acc_type) {
    using Acc = decltype(acc_type);
    const auto with = [&](auto moment_type, auto weight_type) {
      using Moment = decltype(moment_type);
      using Weight = decltype(weight_type);
      run_on(stream, [=] {
        const Step<Acc> step(grad_scale, args);
        Weight* weights = weight.defined() ? data<Weight>(weight) : nullptr;
        Acc* masters = data<Acc>(master);
        Moment *first = data<Moment>(m), *second = data<Moment>(v);
        const Acc* gradients = data<Acc>(grad);
        parallel_rows(count, kUpdatePiece, 32, [&](std::int64_t begin, std::int64_t end) {
          update(weights, masters, first, second, gradients, step, begin, end);
        });
      });
    };
    const auto with_moment = [&](auto moment_type) {
      if (weight.defined() && weight.dtype() == DType::bf16) {
        if constexpr (std::is_same_v<Acc, float>) return with(moment_type, bf16{});
      }
      require(!weight.defined() || weight.dtype() == master.dtype(), "adamw",
              "a weight of the master's type, or bf16 under an f32 master", weight, master);
      return with(moment_type, Acc{});
    };
    if (m.dtype() == DType::bf16) return with_moment(bf16{});
    return with_moment(Acc{});
  });
}

}  // namespace athanor
