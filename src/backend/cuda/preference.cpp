// Losses of a scalar head: preferences between answers, labels of answers, values of tokens.
#include <initializer_list>

#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/token_loss_kernels.cuh"

namespace athanor::cuda {
namespace {

// The kernels number the sums as backend.hpp does.
static_assert(kNumScalarSums == kTokenSums && std::size_t{kPreferenceLoss} == 0 && std::size_t{kPreferenceCount} == 1 &&
              std::size_t{kPreferenceRight} == 2 && std::size_t{kPreferenceGoodScore} == 3 &&
              std::size_t{kPreferenceGoodCount} == 4 && std::size_t{kPreferenceBadScore} == 5 &&
              std::size_t{kPreferenceBadCount} == 6);
static_assert(std::size_t{kValueLoss} == 0 && std::size_t{kValueTokens} == 1 && std::size_t{kValueClipped} == 2 &&
              std::size_t{kValueSum} == 3 && std::size_t{kValueReturn} == 4 && std::size_t{kValueReturnSquared} == 5 &&
              std::size_t{kValueError} == 6 && std::size_t{kValueErrorSquared} == 7);

void require_sums(const char* op, const Tensor& sums_8, const Tensor& numbers) {
  require(sums_8.numel() == kNumScalarSums && sums_8.dtype() == DType::f64, op, "eight f64 sums", sums_8);
  require_acc(op, numbers);
}

}  // namespace

void CudaBackend::pairwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& pairs_P2,
                                      const Tensor& margins_P, const Tensor& weights_P, double centering,
                                      Stream& stream) {
  const char* op = "pairwise_preference";
  const std::int64_t answers = scores_N.numel(), pairs = weights_P.numel();
  require_sums(op, sums_8, scores_N);
  require_numbers(op, scores_N, {&dscores_N});
  require(is_ids(pairs_P2, 2 * pairs), op, "two i32 answers a weight", pairs_P2, weights_P);
  require(weights_P.dtype() == scores_N.dtype(), op, "weights of the type of the scores", weights_P, scores_N);
  if (margins_P.defined()) require_numbers(op, weights_P, {&margins_P});
  const Call call(op, stream, {dscores_N, sums_8, scores_N, pairs_P2, margins_P, weights_P});
  call.check(launch_pairwise_preference(raw(dscores_N), data<double>(sums_8), raw(scores_N),
                                        data<std::int32_t>(pairs_P2), raw(margins_P), raw(weights_P), centering,
                                        scores_N.dtype(), answers, pairs, call.ids(answers), call.stream()));
}

void CudaBackend::pointwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& labels_N,
                                       const Tensor& weights_N, Stream& stream) {
  const char* op = "pointwise_preference";
  require_sums(op, sums_8, scores_N);
  require_numbers(op, scores_N, {&dscores_N, &labels_N, &weights_N});
  const Call call(op, stream, {dscores_N, sums_8, scores_N, labels_N, weights_N});
  call.check(launch_pointwise_preference(raw(dscores_N), data<double>(sums_8), raw(scores_N), raw(labels_N),
                                         raw(weights_N), scores_N.dtype(), scores_N.numel(), call.stream()));
}

void CudaBackend::value_regression(Tensor dvalues_T, Tensor sums_8, const Tensor& values_T, const Tensor& old_values_T,
                                   const Tensor& returns_T, const Tensor& weights_T, double clip, Stream& stream) {
  const char* op = "value_regression";
  require_sums(op, sums_8, values_T);
  require_numbers(op, values_T, {&dvalues_T, &returns_T, &weights_T});
  if (clip > 0.0) require_numbers(op, values_T, {&old_values_T});
  const Call call(op, stream, {dvalues_T, sums_8, values_T, old_values_T, returns_T, weights_T});
  call.check(launch_value_regression(raw(dvalues_T), data<double>(sums_8), raw(values_T),
                                     clip > 0.0 ? raw(old_values_T) : nullptr, raw(returns_T), raw(weights_T), clip,
                                     values_T.dtype(), values_T.numel(), call.stream()));
}

}  // namespace athanor::cuda
