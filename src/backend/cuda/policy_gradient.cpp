// What a policy-gradient objective asks of every token: from its log-probability to the weight of its gradient.
#include <initializer_list>

#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/token_loss_kernels.cuh"

namespace athanor::cuda {

// The kernels number the sums as backend.hpp does.
static_assert(std::size_t{kNumPolicySums} == kTokenSums && std::size_t{kPolicyLoss} == 0 &&
              std::size_t{kPolicyKl} == 1 && std::size_t{kPolicyClipped} == 2 && std::size_t{kPolicyTokens} == 3 &&
              std::size_t{kPolicyRatio} == 4 && std::size_t{kPolicyGap} == 5 && std::size_t{kPolicyLargestGap} == 6 &&
              std::size_t{kPolicySurprise} == 7);

void CudaBackend::policy_gradient(Tensor weights_T, Tensor sums_8, const Tensor& losses_T, const Tensor& old_logprobs_T,
                                  const Tensor& ref_logprobs_T, const Tensor& advantages_T,
                                  const Tensor& loss_weights_T, const Tensor& sequence_ids_T,
                                  const PolicyGradientArgs& args, Stream& stream) {
  const char* op = "policy_gradient";
  const std::int64_t tokens = losses_T.numel();
  require_floating(op, losses_T);
  require(sums_8.numel() == 8 && sums_8.dtype() == DType::f64, op, "eight f64 sums", sums_8);
  for (const Tensor* tensor :
       std::initializer_list<const Tensor*>{&weights_T, &old_logprobs_T, &advantages_T, &loss_weights_T})
    require(tensor->numel() == tokens && tensor->dtype() == losses_T.dtype(), op, "one number a token, all of one type",
            *tensor, losses_T);
  if (ref_logprobs_T.defined())
    require(ref_logprobs_T.numel() == tokens && ref_logprobs_T.dtype() == losses_T.dtype(), op, "one reference a token",
            ref_logprobs_T, losses_T);
  const bool by_sequence = args.objective == PolicyObjective::gspo;
  if (by_sequence)
    require(sequence_ids_T.defined() && is_ids(sequence_ids_T, tokens), op, "an i32 sequence id a token",
            sequence_ids_T, losses_T);
  const auto objective = [&] {
    switch (args.objective) {
      case PolicyObjective::gspo:
        return Objective::gspo;
      case PolicyObjective::cispo:
        return Objective::cispo;
      case PolicyObjective::clipped:
        break;
    }
    return Objective::clipped;
  }();
  const PolicyRows rows{.weights = raw(weights_T),
                        .losses = raw(losses_T),
                        .old = raw(old_logprobs_T),
                        .reference = raw(ref_logprobs_T),
                        .advantages = raw(advantages_T),
                        .loss_weights = raw(loss_weights_T),
                        .sequence_ids = by_sequence ? data<std::int32_t>(sequence_ids_T) : nullptr,
                        .tokens = tokens,
                        .objective = objective,
                        .clip_low = args.clip_low,
                        .clip_high = args.clip_high,
                        .ratio_bound = args.ratio_bound,
                        .kl_beta = args.kl_beta};
  const Call call(
      op, stream,
      {weights_T, sums_8, losses_T, old_logprobs_T, ref_logprobs_T, advantages_T, loss_weights_T, sequence_ids_T});
  call.check(launch_policy_gradient(data<double>(sums_8), rows, losses_T.dtype(), call.stream()));
}

}  // namespace athanor::cuda
