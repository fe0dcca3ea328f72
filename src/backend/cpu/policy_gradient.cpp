// What a policy-gradient objective asks of every token: from its log-probability to the weight of its gradient.
// Law: one pass in the order of tokens, sums in f64; a token of weight 0 counts for nothing.
#include <algorithm>
#include <cmath>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"

namespace athanor {
namespace {

struct Surrogate {
  double loss = 0.0, slope = 0.0;  ///< of the objective by log-probability (of the ratio's logarithm)
  bool clipped = false;
};

/// -min(rho A, clip(rho) A) with the bounds of `args`, and its derivative by log rho.
Surrogate surrogate(double log_ratio, double advantage, const PolicyGradientArgs& args) {
  double ratio = std::exp(std::clamp(log_ratio, -20.0, 20.0));
  Surrogate s;
  if (args.objective == PolicyObjective::cispo) {  // the ratio is a constant weight of the log-probability
    const double weight = std::min(ratio, args.clip_high);
    s.clipped = ratio > args.clip_high;
    s.loss = -weight * advantage;
    s.slope = -weight * advantage;
    return s;
  }
  bool bounded = false;
  if (args.ratio_bound > 0.0 && ratio > args.ratio_bound) {
    ratio = args.ratio_bound;
    bounded = true;
  }
  const double clipped = std::clamp(ratio, 1.0 - args.clip_low, 1.0 + args.clip_high);
  const bool takes_clipped = clipped * advantage < ratio * advantage;
  s.clipped = takes_clipped || bounded;
  s.loss = -(takes_clipped ? clipped : ratio) * advantage;
  s.slope = s.clipped ? 0.0 : -ratio * advantage;
  return s;
}

}  // namespace

void CpuBackend::policy_gradient(Tensor weights_T, Tensor sums_8, const Tensor& losses_T, const Tensor& old_logprobs_T,
                                 const Tensor& ref_logprobs_T, const Tensor& advantages_T, const Tensor& loss_weights_T,
                                 const Tensor& sequence_ids_T, const PolicyGradientArgs& args, Stream& stream) {
  using cpu::data;
  using cpu::load;
  const std::int64_t tokens = losses_T.numel();
  require(sums_8.numel() == 8 && sums_8.dtype() == DType::f64, "policy_gradient", "eight f64 sums", sums_8);
  for (const Tensor* tensor :
       std::initializer_list<const Tensor*>{&weights_T, &old_logprobs_T, &advantages_T, &loss_weights_T})
    require(tensor->numel() == tokens && tensor->dtype() == losses_T.dtype(), "policy_gradient",
            "one number a token, all of one type", *tensor, losses_T);
  if (ref_logprobs_T.defined())
    require(ref_logprobs_T.numel() == tokens && ref_logprobs_T.dtype() == losses_T.dtype(), "policy_gradient",
            "one reference a token", ref_logprobs_T, losses_T);
  const bool by_sequence = args.objective == PolicyObjective::gspo;
  if (by_sequence)
    require(sequence_ids_T.defined() && sequence_ids_T.numel() == tokens && sequence_ids_T.dtype() == DType::i32,
            "policy_gradient", "an i32 sequence id a token", sequence_ids_T, losses_T);
  cpu::dispatch_floating(losses_T.dtype(), "policy_gradient", [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const T *losses = data<T>(losses_T), *old = data<T>(old_logprobs_T), *advantage = data<T>(advantages_T);
      const T *count = data<T>(loss_weights_T),
              *reference = ref_logprobs_T.defined() ? data<T>(ref_logprobs_T) : nullptr;
      const auto* ids = by_sequence ? data<std::int32_t>(sequence_ids_T) : nullptr;
      T* weights = data<T>(weights_T);
      auto* sums = data<double>(sums_8);
      const auto number = [](const T& x) { return static_cast<double>(load(x)); };
      for (std::int64_t begin = 0; begin < tokens;) {
        // A run of tokens with one ratio: one token, or those of one sequence.
        std::int64_t end = begin + 1;
        double log_ratio = 0.0, counted = 0.0, shared_weight = 0.0;
        if (by_sequence) {
          for (end = begin; end < tokens && ids[end] == ids[begin]; ++end)
            if (number(count[end]) != 0.0) {
              log_ratio += -number(losses[end]) - number(old[end]);
              counted += 1.0;
              shared_weight += number(count[end]);
            }
          log_ratio = counted > 0.0 ? log_ratio / counted : 0.0;
          shared_weight = counted > 0.0 ? shared_weight / counted : 0.0;  // each moves the ratio of all by 1/|o|
        }
        for (std::int64_t t = begin; t < end; ++t) {
          const double weight = number(count[t]);
          if (weight == 0.0) {
            cpu::put(weights[t], cpu::acc_t<T>{0});
            continue;
          }
          const double logprob = -number(losses[t]), own_log_ratio = logprob - number(old[t]);
          Surrogate s = surrogate(by_sequence ? log_ratio : own_log_ratio, number(advantage[t]), args);
          double loss = args.objective == PolicyObjective::cispo ? s.loss * logprob : s.loss;
          double slope = s.slope * (by_sequence ? shared_weight : weight);
          if (reference) {
            const double delta = std::clamp(logprob - number(reference[t]), -20.0, 20.0);
            const double k3 = std::exp(-delta) + delta - 1.0;
            loss += args.kl_beta * k3;
            slope += weight * args.kl_beta * (1.0 - std::exp(-delta));
            sums[kPolicyKl] += k3;
          }
          sums[kPolicyLoss] += weight * loss;
          sums[kPolicyClipped] += s.clipped ? 1.0 : 0.0;
          sums[kPolicyTokens] += 1.0;
          sums[kPolicyRatio] += std::exp(std::clamp(own_log_ratio, -20.0, 20.0));
          sums[kPolicyGap] += std::abs(own_log_ratio);
          sums[kPolicyLargestGap] = std::max(sums[kPolicyLargestGap], std::abs(own_log_ratio));
          sums[kPolicySurprise] -= logprob;
          // d loss / d logits = slope * (onehot - softmax) = (softmax - onehot) * weight of cross_entropy.
          cpu::put(weights[t], static_cast<cpu::acc_t<T>>(-slope));
        }
        begin = end;
      }
    });
  });
}

}  // namespace athanor
