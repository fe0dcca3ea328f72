// Softmax cross-entropy over the vocabulary, whole or cut over ranks; distillation; weighted sums of losses.
#include "src/backend/cuda/adamw_kernels.cuh"
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cross_entropy_kernels.cuh"
#include "src/backend/cuda/cuda_backend.hpp"

namespace athanor::cuda {
namespace {

LogitRows logit_rows(const char* op, const Tensor& logits_TV) {
  require_floating(op, logits_TV);
  return {logits_TV.dtype(), logits_TV.shape().flat_rows(), logits_TV.shape().back()};
}

/// One number a token, of the logits' accumulation type.
void require_token_numbers(const char* op, const char* wanted, const Tensor& numbers_T, const Tensor& logits_TV) {
  require(
      numbers_T.numel() == logits_TV.shape().flat_rows() && numbers_T.dtype() == accumulation_dtype(logits_TV.dtype()),
      op, wanted, numbers_T, logits_TV);
}
void require_gradient(const char* op, const Tensor& dlogits_TV, const Tensor& logits_TV) {
  require(dlogits_TV.numel() == logits_TV.numel() && dlogits_TV.dtype() == logits_TV.dtype(), op,
          "a gradient like the logits", dlogits_TV, logits_TV);
}
void require_targets(const char* op, const Tensor& targets_T, const Tensor& logits_TV) {
  require(is_ids(targets_T, logits_TV.shape().flat_rows()), op, "one i32 target a token", targets_T, logits_TV);
}

}  // namespace

void CudaBackend::cross_entropy(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& targets_T,
                                const Tensor& loss_weights_T, Stream& stream) {
  const char* op = "cross_entropy";
  const LogitRows rows = logit_rows(op, logits_TV);
  require_loss_rows(op, losses_T, loss_weights_T, logits_TV, dlogits_TV);
  require_targets(op, targets_T, logits_TV);
  const Call call(op, stream, {losses_T, dlogits_TV, logits_TV, targets_T, loss_weights_T});
  call.check(launch_cross_entropy(raw(losses_T), raw(dlogits_TV), raw(logits_TV), data<std::int32_t>(targets_T),
                                  raw(loss_weights_T), rows, call.ids(rows.vocabulary), call.stream()));
}

void CudaBackend::cross_entropy_part(Tensor part_T2, const Tensor& logits_TV, const Tensor& local_targets_T,
                                     Stream& stream) {
  const char* op = "cross_entropy_part";
  const LogitRows rows = logit_rows(op, logits_TV);
  require(part_T2.numel() == 2 * rows.tokens && part_T2.dtype() == accumulation_dtype(logits_TV.dtype()), op,
          "two numbers a token, of the accumulation type", part_T2, logits_TV);
  require_targets(op, local_targets_T, logits_TV);
  const Call call(op, stream, {part_T2, logits_TV, local_targets_T});
  call.check(launch_cross_entropy_part(raw(part_T2), raw(logits_TV), data<std::int32_t>(local_targets_T), rows,
                                       call.ids(rows.vocabulary, -1), call.stream()));
}

void CudaBackend::cross_entropy_merge(Tensor losses_T, Tensor lse_T, const Tensor& parts_PT2,
                                      const Tensor& loss_weights_T, Stream& stream) {
  const char* op = "cross_entropy_merge";
  const std::int64_t tokens = losses_T.numel();
  require_floating(op, losses_T);
  require(tokens == 0 || parts_PT2.numel() % (2 * tokens) == 0, op, "two numbers a token and rank", parts_PT2,
          losses_T);
  require(lse_T.numel() == tokens && loss_weights_T.numel() == tokens, op, "one number a token", lse_T, loss_weights_T);
  require(lse_T.dtype() == losses_T.dtype() && parts_PT2.dtype() == losses_T.dtype() &&
              loss_weights_T.dtype() == losses_T.dtype(),
          op, "operands of one type", parts_PT2, losses_T);
  const Call call(op, stream, {losses_T, lse_T, parts_PT2, loss_weights_T});
  const std::int64_t ranks = tokens == 0 ? 0 : parts_PT2.numel() / (2 * tokens);
  call.check(launch_cross_entropy_merge(raw(losses_T), raw(lse_T), raw(parts_PT2), raw(loss_weights_T),
                                        losses_T.dtype(), tokens, ranks, call.stream()));
}

void CudaBackend::cross_entropy_part_backward(Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& lse_T,
                                              const Tensor& local_targets_T, const Tensor& loss_weights_T,
                                              Stream& stream) {
  const char* op = "cross_entropy_part_backward";
  const LogitRows rows = logit_rows(op, logits_TV);
  require_gradient(op, dlogits_TV, logits_TV);
  require_token_numbers(op, "one number a token, of the accumulation type", lse_T, logits_TV);
  require_token_numbers(op, "one weight a token, of the accumulation type", loss_weights_T, logits_TV);
  require_targets(op, local_targets_T, logits_TV);
  const Call call(op, stream, {dlogits_TV, logits_TV, lse_T, local_targets_T, loss_weights_T});
  call.check(launch_cross_entropy_part_backward(raw(dlogits_TV), raw(logits_TV), raw(lse_T),
                                                data<std::int32_t>(local_targets_T), raw(loss_weights_T), rows,
                                                call.ids(rows.vocabulary, -1), call.stream()));
}

void CudaBackend::distillation(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV,
                               const Tensor& teacher_logits_TV, const Tensor& loss_weights_T, bool reverse,
                               Stream& stream) {
  const char* op = "distillation";
  const LogitRows rows = logit_rows(op, logits_TV);
  require_loss_rows(op, losses_T, loss_weights_T, logits_TV, dlogits_TV);
  require(teacher_logits_TV.numel() == logits_TV.numel() && teacher_logits_TV.dtype() == logits_TV.dtype(), op,
          "the teacher's logits like the student's", teacher_logits_TV, logits_TV);
  const Call call(op, stream, {losses_T, dlogits_TV, logits_TV, teacher_logits_TV, loss_weights_T});
  call.check(launch_distillation(raw(losses_T), raw(dlogits_TV), raw(logits_TV), raw(teacher_logits_TV),
                                 raw(loss_weights_T), reverse, rows, call.stream()));
}

void CudaBackend::weighted_sum(Tensor out_1, const Tensor& a_T, const Tensor& b_T, Stream& stream) {
  require_floating("weighted_sum", a_T);
  require(out_1.numel() == 1 && out_1.dtype() == DType::f64, "weighted_sum", "one f64", out_1);
  if (b_T.defined()) require_alike("weighted_sum", a_T, b_T);
  const Call call("weighted_sum", stream, {out_1, a_T, b_T});
  call.check(launch_sum_of_products(data<double>(out_1), call.scratch<double>(arena(), kSumPieces), raw(a_T), raw(b_T),
                                    a_T.dtype(), a_T.numel(), call.stream()));
}

}  // namespace athanor::cuda
