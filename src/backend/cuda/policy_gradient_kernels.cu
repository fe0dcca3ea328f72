// What a policy-gradient objective asks of every token: from its log-probability to the weight of its gradient.
#include "src/backend/cuda/token_sums.cuh"

namespace athanor::cuda {
namespace {

/// Places of PolicySum.
enum Sum : int { kLoss, kKl, kClipped, kTokens, kRatio, kGap, kLargestGap, kSurprise };

__device__ double clamped(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

struct Surrogate {
  double loss = 0.0, slope = 0.0;  ///< of the objective by log-probability (of the ratio's logarithm)
  bool clipped = false;
};

/// -min(rho A, clip(rho) A), and its derivative by log rho.
__device__ Surrogate surrogate(double log_ratio, double advantage, const PolicyRows& rows) {
  double ratio = exp(clamped(log_ratio, -20.0, 20.0));
  Surrogate s;
  if (rows.objective == Objective::cispo) {  // the ratio is a constant weight of the log-probability
    const double weight = ratio < rows.clip_high ? ratio : rows.clip_high;
    s.clipped = ratio > rows.clip_high;
    s.loss = -weight * advantage;
    s.slope = -weight * advantage;
    return s;
  }
  bool bounded = false;
  if (rows.ratio_bound > 0.0 && ratio > rows.ratio_bound) {
    ratio = rows.ratio_bound;
    bounded = true;
  }
  const double clipped = clamped(ratio, 1.0 - rows.clip_low, 1.0 + rows.clip_high);
  const bool takes_clipped = clipped * advantage < ratio * advantage;
  s.clipped = takes_clipped || bounded;
  s.loss = -(takes_clipped ? clipped : ratio) * advantage;
  s.slope = s.clipped ? 0.0 : -ratio * advantage;
  return s;
}

template <class T>
__device__ double number(const void* values, std::int64_t t) {
  return static_cast<double>(widen(static_cast<const T*>(values)[t]));
}

/// What the tokens of a sequence share for gspo.
struct Shared {
  double log_ratio = 0.0, weight = 0.0;
};
template <class T>
__device__ Shared shared_of(const PolicyRows& rows, std::int64_t begin, std::int64_t end) {
  Shared shared;
  double counted = 0.0;
  for (std::int64_t t = begin; t < end; ++t) {
    const double weight = number<T>(rows.loss_weights, t);
    if (weight == 0.0) continue;
    shared.log_ratio += -number<T>(rows.losses, t) - number<T>(rows.old, t);
    shared.weight += weight;
    counted += 1.0;
  }
  if (counted == 0.0) return {};
  return {shared.log_ratio / counted, shared.weight / counted};  // each moves the ratio of all by 1/|o|
}

/// Adds token t; `shared` null: its ratio is its own.
template <class T>
__device__ void add_token(TokenSums& sums, const PolicyRows& rows, std::int64_t t, const Shared* shared) {
  T* weights = static_cast<T*>(rows.weights);
  const double weight = number<T>(rows.loss_weights, t);
  if (weight == 0.0) {
    weights[t] = narrow<T>(acc_t<T>{0});
    return;
  }
  const double logprob = -number<T>(rows.losses, t), own_log_ratio = logprob - number<T>(rows.old, t);
  const Surrogate s = surrogate(shared ? shared->log_ratio : own_log_ratio, number<T>(rows.advantages, t), rows);
  double loss = rows.objective == Objective::cispo ? s.loss * logprob : s.loss;
  double slope = s.slope * (shared ? shared->weight : weight);
  if (rows.reference) {
    const double delta = clamped(logprob - number<T>(rows.reference, t), -20.0, 20.0);
    const double k3 = exp(-delta) + delta - 1.0;
    loss += rows.kl_beta * k3;
    slope += weight * rows.kl_beta * (1.0 - exp(-delta));
    sums.at[kKl] += k3;
  }
  sums.at[kLoss] += weight * loss;
  sums.at[kClipped] += s.clipped ? 1.0 : 0.0;
  sums.at[kTokens] += 1.0;
  sums.at[kRatio] += exp(clamped(own_log_ratio, -20.0, 20.0));
  sums.at[kGap] += fabs(own_log_ratio);
  sums.at[kLargestGap] = larger(sums.at[kLargestGap], fabs(own_log_ratio));
  sums.at[kSurprise] -= logprob;
  // d loss / d logits = slope * (onehot - softmax) = (softmax - onehot) * weight of cross_entropy.
  weights[t] = narrow<T>(static_cast<acc_t<T>>(-slope));
}

template <class T>
__global__ void policy_gradient_kernel(double* sums, PolicyRows rows) {
  add_token_sums(sums, rows.tokens, kLargestGap, [&](std::int64_t t, TokenSums& mine) {
    if (rows.objective != Objective::gspo) return add_token<T>(mine, rows, t, nullptr);
    // The first token of a sequence does all of it.
    const std::int32_t* ids = rows.sequence_ids;
    if (t > 0 && ids[t - 1] == ids[t]) return;
    std::int64_t end = t + 1;
    while (end < rows.tokens && ids[end] == ids[t]) ++end;
    const Shared shared = shared_of<T>(rows, t, end);
    for (std::int64_t i = t; i < end; ++i) add_token<T>(mine, rows, i, &shared);
  });
}

}  // namespace

cudaError_t launch_policy_gradient(double* sums, const PolicyRows& rows, DType dtype, cudaStream_t stream) {
  if (rows.tokens == 0) return cudaSuccess;
  return with_floating(dtype, [&](auto type) {
    return launch(policy_gradient_kernel<decltype(type)>, {1, kThreads}, stream, sums, rows);
  });
}

}  // namespace athanor::cuda
