// Divergence of a student's softmax from a teacher's over the whole vocabulary, and its gradient.
#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/log_sum_exp.hpp"

namespace athanor {

using cpu::data;
using cpu::load;
using cpu::put;

void CpuBackend::distillation(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV,
                              const Tensor& teacher_logits_TV, const Tensor& loss_weights_T, bool reverse,
                              Stream& stream) {
  const std::int64_t tokens = logits_TV.shape().flat_rows(), vocabulary = logits_TV.shape().back();
  require_loss_rows("distillation", losses_T, loss_weights_T, logits_TV, dlogits_TV);
  require(teacher_logits_TV.numel() == logits_TV.numel() && teacher_logits_TV.dtype() == logits_TV.dtype(),
          "distillation", "the teacher's logits like the student's", teacher_logits_TV, logits_TV);
  cpu::dispatch_floating(logits_TV.dtype(), "distillation", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const T *student_rows = data<T>(logits_TV), *teacher_rows = data<T>(teacher_logits_TV);
      T* dlogits_rows = dlogits_TV.defined() ? data<T>(dlogits_TV) : nullptr;
      const Acc* weights = data<Acc>(loss_weights_T);
      Acc* losses = data<Acc>(losses_T);
      cpu::parallel_rows(tokens, 4, vocabulary * 64, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          T* dlogits = dlogits_rows ? dlogits_rows + t * vocabulary : nullptr;
          const Acc weight = weights[t];
          if (weight == Acc{0}) {
            losses[t] = Acc{0};
            if (dlogits) std::fill_n(dlogits, vocabulary, T{});
            continue;
          }
          const T *student = student_rows + t * vocabulary, *teacher = teacher_rows + t * vocabulary;
          const Acc lse_student = cpu::log_sum_exp(student, vocabulary).value;
          const Acc lse_teacher = cpu::log_sum_exp(teacher, vocabulary).value;
          double divergence = 0.0;
          for (std::int64_t i = 0; i < vocabulary; ++i) {
            const Acc log_q = load(student[i]) - lse_student, log_p = load(teacher[i]) - lse_teacher;
            const Acc term = reverse ? cpu::exp(log_q) * (log_q - log_p) : cpu::exp(log_p) * (log_p - log_q);
            divergence += static_cast<double>(term);
          }
          losses[t] = static_cast<Acc>(divergence);
          if (!dlogits) continue;
          const Acc mean = losses[t];
#pragma omp simd
          for (std::int64_t i = 0; i < vocabulary; ++i) {
            const Acc log_q = load(student[i]) - lse_student, log_p = load(teacher[i]) - lse_teacher;
            const Acc q = cpu::exp(log_q);
            put(dlogits[i], (reverse ? q * (log_q - log_p - mean) : q - cpu::exp(log_p)) * weight);
          }
        }
      });
    });
  });
}

}  // namespace athanor
