// Softmax cross-entropy over the vocabulary, and weighted sums of losses.
#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/log_sum_exp.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::load;
using cpu::put;

/// @throws Error naming the first target that counts and is no token.
template <class Acc>
void require_targets(const std::int32_t* targets, const Acc* weights, std::int64_t tokens, std::int64_t vocabulary) {
  for (std::int64_t t = 0; t < tokens; ++t)
    if (weights[t] != Acc{0} && (targets[t] < 0 || targets[t] >= vocabulary))
      throw Error("cross_entropy: wanted targets in [0, " + std::to_string(vocabulary) + "), found " +
                  std::to_string(targets[t]) + " at token " + std::to_string(t));
}

}  // namespace

void CpuBackend::cross_entropy(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& targets_T,
                               const Tensor& loss_weights_T, Stream& stream) {
  const std::int64_t tokens = logits_TV.shape().flat_rows(), vocabulary = logits_TV.shape().back();
  require_loss_rows("cross_entropy", losses_T, loss_weights_T, logits_TV, dlogits_TV);
  require(targets_T.numel() == tokens && targets_T.dtype() == DType::i32, "cross_entropy", "one i32 target a token",
          targets_T, logits_TV);
  cpu::dispatch_floating(logits_TV.dtype(), "cross_entropy", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const T* logits_rows = data<T>(logits_TV);
      T* dlogits_rows = dlogits_TV.defined() ? data<T>(dlogits_TV) : nullptr;
      const auto* targets = data<std::int32_t>(targets_T);
      const Acc* weights = data<Acc>(loss_weights_T);
      Acc* losses = data<Acc>(losses_T);
      require_targets(targets, weights, tokens, vocabulary);
      cpu::parallel_rows(tokens, 4, vocabulary * 32, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          const T* logits = logits_rows + t * vocabulary;
          T* dlogits = dlogits_rows ? dlogits_rows + t * vocabulary : nullptr;
          const Acc weight = weights[t];
          if (weight == Acc{0}) {
            losses[t] = Acc{0};
            if (dlogits) std::fill_n(dlogits, vocabulary, T{});
            continue;
          }
          const auto lse = cpu::log_sum_exp(logits, vocabulary);
          const Acc log_probability = load(logits[targets[t]]) - lse.value;
          losses[t] = -log_probability;
          if (!dlogits) continue;
#pragma omp simd
          for (std::int64_t i = 0; i < vocabulary; ++i) put(dlogits[i], cpu::exp(load(logits[i]) - lse.value) * weight);
          put(dlogits[targets[t]], (cpu::exp(log_probability) - Acc{1}) * weight);
        }
      });
    });
  });
}

void CpuBackend::weighted_sum(Tensor out_1, const Tensor& a_T, const Tensor& b_T, Stream& stream) {
  require(out_1.numel() == 1 && out_1.dtype() == DType::f64, "weighted_sum", "one f64", out_1);
  if (b_T.defined())
    require(a_T.numel() == b_T.numel() && a_T.dtype() == b_T.dtype(), "weighted_sum", "operands of one size and type",
            a_T, b_T);
  cpu::dispatch_floating(a_T.dtype(), "weighted_sum", [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const T* a = data<T>(a_T);
      const T* b = b_T.defined() ? data<T>(b_T) : nullptr;
      double sum = 0.0;
      if (b) {
#pragma omp simd reduction(+ : sum)
        for (std::int64_t t = 0; t < a_T.numel(); ++t)
          sum += static_cast<double>(load(a[t])) * static_cast<double>(load(b[t]));
      } else {
#pragma omp simd reduction(+ : sum)
        for (std::int64_t t = 0; t < a_T.numel(); ++t) sum += static_cast<double>(load(a[t]));
      }
      *data<double>(out_1) += sum;
    });
  });
}

}  // namespace athanor
