// Softmax cross-entropy with the vocabulary cut over ranks: what a rank says of its logits, the merge of all parts, the
// gradient of its logits. Law: as cross_entropy.cpp; parts are merged in rank order and in f64.
#include <cmath>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/log_sum_exp.hpp"
#include "src/backend/cpu/row_ids.hpp"

namespace athanor {

using cpu::data;
using cpu::load;
using cpu::put;

void CpuBackend::cross_entropy_part(Tensor part_T2, const Tensor& logits_TV, const Tensor& local_targets_T,
                                    Stream& stream) {
  const std::int64_t tokens = logits_TV.shape().flat_rows(), vocabulary = logits_TV.shape().back();
  require(part_T2.numel() == 2 * tokens && part_T2.dtype() == accumulation_dtype(logits_TV.dtype()),
          "cross_entropy_part", "two numbers a token, of the accumulation type", part_T2, logits_TV);
  require(local_targets_T.numel() == tokens && local_targets_T.dtype() == DType::i32, "cross_entropy_part",
          "one i32 target a token", local_targets_T, logits_TV);
  cpu::dispatch_floating(logits_TV.dtype(), "cross_entropy_part", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const T* rows = data<T>(logits_TV);
      const auto* targets = data<std::int32_t>(local_targets_T);
      Acc* part = data<Acc>(part_T2);
      cpu::require_ids("cross_entropy_part", targets, tokens, vocabulary, -1);
      cpu::parallel_rows(tokens, 4, vocabulary * 16, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          const T* logits = rows + t * vocabulary;
          part[2 * t] = cpu::log_sum_exp(logits, vocabulary).value;
          part[2 * t + 1] = targets[t] >= 0 ? static_cast<Acc>(load(logits[targets[t]])) : Acc{0};
        }
      });
    });
  });
}

void CpuBackend::cross_entropy_merge(Tensor losses_T, Tensor lse_T, const Tensor& parts_PT2,
                                     const Tensor& loss_weights_T, Stream& stream) {
  const std::int64_t tokens = losses_T.numel();
  require(tokens == 0 || parts_PT2.numel() % (2 * tokens) == 0, "cross_entropy_merge", "two numbers a token and rank",
          parts_PT2, losses_T);
  require(lse_T.numel() == tokens && loss_weights_T.numel() == tokens, "cross_entropy_merge", "one number a token",
          lse_T, loss_weights_T);
  require(lse_T.dtype() == losses_T.dtype() && parts_PT2.dtype() == losses_T.dtype() &&
              loss_weights_T.dtype() == losses_T.dtype(),
          "cross_entropy_merge", "operands of one type", parts_PT2, losses_T);
  cpu::dispatch_floating(losses_T.dtype(), "cross_entropy_merge", [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const T *parts = data<T>(parts_PT2), *weights = data<T>(loss_weights_T);
      T *losses = data<T>(losses_T), *lse = data<T>(lse_T);
      const std::int64_t ranks = tokens == 0 ? 0 : parts_PT2.numel() / (2 * tokens);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const auto part = [&](std::int64_t p, std::int64_t i) {
          return static_cast<double>(load(parts[(p * tokens + t) * 2 + i]));
        };
        double highest = part(0, 0), sum = 0.0, target = 0.0;
        for (std::int64_t p = 1; p < ranks; ++p) highest = std::max(highest, part(p, 0));
        for (std::int64_t p = 0; p < ranks; ++p) {
          sum += std::exp(part(p, 0) - highest);
          target += part(p, 1);
        }
        const double total = highest + std::log(sum);
        put(lse[t], static_cast<cpu::acc_t<T>>(total));
        put(losses[t],
            load(weights[t]) == cpu::acc_t<T>{0} ? cpu::acc_t<T>{0} : static_cast<cpu::acc_t<T>>(total - target));
      }
    });
  });
}

void CpuBackend::cross_entropy_part_backward(Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& lse_T,
                                             const Tensor& local_targets_T, const Tensor& loss_weights_T,
                                             Stream& stream) {
  const std::int64_t tokens = logits_TV.shape().flat_rows(), vocabulary = logits_TV.shape().back();
  const DType acc = accumulation_dtype(logits_TV.dtype());
  require(dlogits_TV.numel() == logits_TV.numel() && dlogits_TV.dtype() == logits_TV.dtype(),
          "cross_entropy_part_backward", "a gradient like the logits", dlogits_TV, logits_TV);
  require(lse_T.numel() == tokens && lse_T.dtype() == acc && loss_weights_T.numel() == tokens &&
              loss_weights_T.dtype() == acc,
          "cross_entropy_part_backward", "one number a token, of the accumulation type", lse_T, loss_weights_T);
  require(local_targets_T.numel() == tokens && local_targets_T.dtype() == DType::i32, "cross_entropy_part_backward",
          "one i32 target a token", local_targets_T, logits_TV);
  cpu::dispatch_floating(logits_TV.dtype(), "cross_entropy_part_backward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const T* logits_rows = data<T>(logits_TV);
      T* dlogits_rows = data<T>(dlogits_TV);
      const auto* targets = data<std::int32_t>(local_targets_T);
      const Acc *weights = data<Acc>(loss_weights_T), *lse = data<Acc>(lse_T);
      cpu::require_ids("cross_entropy_part_backward", targets, tokens, vocabulary, -1);
      cpu::parallel_rows(tokens, 4, vocabulary * 16, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          const T* logits = logits_rows + t * vocabulary;
          T* dlogits = dlogits_rows + t * vocabulary;
          const Acc weight = weights[t], total = lse[t];
          if (weight == Acc{0}) {
            std::fill_n(dlogits, vocabulary, T{});
            continue;
          }
          const std::int32_t target = targets[t];
          const Acc at_target = target >= 0 ? (cpu::exp(load(logits[target]) - total) - Acc{1}) * weight : Acc{0};
#pragma omp simd
          for (std::int64_t i = 0; i < vocabulary; ++i) put(dlogits[i], cpu::exp(load(logits[i]) - total) * weight);
          if (target >= 0) put(dlogits[target], at_target);
        }
      });
    });
  });
}

}  // namespace athanor
