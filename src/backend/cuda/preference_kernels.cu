// Losses of a scalar head: preferences between answers, labels of answers, values of tokens. Written with softplus(x) =
// max(x, 0) + log1p(exp(-|x|)), so that no score is too large.
#include "src/backend/cuda/token_sums.cuh"

namespace athanor::cuda {
namespace {

/// Places of PreferenceSum and ValueSum.
enum Preference : int { kLoss, kCount, kRight, kGoodScore, kGoodCount, kBadScore, kBadCount };
enum Value : int { kValueLoss, kTokens, kClipped, kSum, kReturn, kReturnSquared, kError, kErrorSquared };

__device__ double softplus(double x) { return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x))); }
__device__ double sigmoid_of(double x) {
  const double small = exp(-fabs(x));
  return x >= 0.0 ? 1.0 / (1.0 + small) : small / (1.0 + small);
}

template <class T>
struct Pairs {
  const T *scores, *margins, *weights;
  const std::int32_t* ids;  ///< {better, worse} of every pair
  std::int64_t count;
  double centering;
  IdCheck check;

  __device__ bool counts(std::int64_t p) const {
    return weights[p] != T{0} && check.contains(ids[2 * p]) && check.contains(ids[2 * p + 1]);
  }
  __device__ double good(std::int64_t p) const { return static_cast<double>(scores[ids[2 * p]]); }
  __device__ double bad(std::int64_t p) const { return static_cast<double>(scores[ids[2 * p + 1]]); }
  __device__ double difference(std::int64_t p) const {
    return good(p) - bad(p) - (margins ? static_cast<double>(margins[p]) : 0.0);
  }
  /// The gradient by one of the pair's scores.
  __device__ double slope(std::int64_t p, bool better) const {
    const double pull = -sigmoid_of(-difference(p)), centre = 2.0 * centering * (good(p) + bad(p));
    return static_cast<double>(weights[p]) * (centre + (better ? pull : -pull));
  }
};

template <class T>
__global__ void pairs_kernel(double* sums, Pairs<T> pairs) {
  add_token_sums(sums, pairs.count, -1, [&](std::int64_t p, TokenSums& mine) {
    pairs.check.holds(pairs.ids[2 * p], 2 * p);
    pairs.check.holds(pairs.ids[2 * p + 1], 2 * p + 1);
    if (!pairs.counts(p)) return;
    const double good = pairs.good(p), bad = pairs.bad(p), both = good + bad;
    mine.at[kLoss] +=
        static_cast<double>(pairs.weights[p]) * (softplus(-pairs.difference(p)) + pairs.centering * both * both);
    mine.at[kCount] += 1.0;
    mine.at[kRight] += good > bad ? 1.0 : 0.0;
    mine.at[kGoodScore] += good;
    mine.at[kGoodCount] += 1.0;
    mine.at[kBadScore] += bad;
    mine.at[kBadCount] += 1.0;
  });
}

/// An answer looks for its pairs, in order: an answer of several sums them as the CPU does.
template <class T>
struct AnswerGradient {
  T* dscores;
  Pairs<T> pairs;
  __device__ void operator()(std::int64_t n) const {
    T sum{0};
    for (std::int64_t p = 0; p < pairs.count; ++p) {
      if (pairs.ids[2 * p] != n && pairs.ids[2 * p + 1] != n) continue;
      if (!pairs.counts(p)) continue;
      if (pairs.ids[2 * p] == n) sum += static_cast<T>(pairs.slope(p, true));
      if (pairs.ids[2 * p + 1] == n) sum += static_cast<T>(pairs.slope(p, false));
    }
    dscores[n] = sum;
  }
};

template <class T>
__global__ void labels_kernel(T* dscores, double* sums, const T* scores, const T* labels, const T* weights,
                              std::int64_t answers) {
  add_token_sums(sums, answers, -1, [&](std::int64_t n, TokenSums& mine) {
    const double weight = static_cast<double>(weights[n]);
    if (weight == 0.0) {
      dscores[n] = T{0};
      return;
    }
    const double score = static_cast<double>(scores[n]), label = static_cast<double>(labels[n]);
    const bool good = label > 0.5;
    dscores[n] = static_cast<T>(weight * (sigmoid_of(score) - label));
    mine.at[kLoss] += weight * (softplus(score) - label * score);
    mine.at[kCount] += 1.0;
    mine.at[kRight] += (score > 0.0) == good ? 1.0 : 0.0;
    mine.at[good ? kGoodScore : kBadScore] += score;
    mine.at[good ? kGoodCount : kBadCount] += 1.0;
  });
}

template <class T>
__global__ void values_kernel(T* dvalues, double* sums, const T* values, const T* old_values, const T* returns,
                              const T* weights, double clip, std::int64_t tokens) {
  add_token_sums(sums, tokens, -1, [&](std::int64_t t, TokenSums& mine) {
    const double weight = static_cast<double>(weights[t]);
    if (weight == 0.0) {
      dvalues[t] = T{0};
      return;
    }
    const double value = static_cast<double>(values[t]), wanted = static_cast<double>(returns[t]);
    const double error = wanted - value;
    double squared = error * error;
    bool clipped = false;
    if (old_values) {
      const double near = static_cast<double>(old_values[t]);
      const double held = value < near - clip ? near - clip : value > near + clip ? near + clip : value;
      const double kept = wanted - held;
      clipped = kept * kept > squared;
      if (clipped) squared = kept * kept;
    }
    dvalues[t] = clipped ? T{0} : static_cast<T>(-weight * error);
    mine.at[kValueLoss] += 0.5 * weight * squared;
    mine.at[kTokens] += 1.0;
    mine.at[kClipped] += clipped ? 1.0 : 0.0;
    mine.at[kSum] += value;
    mine.at[kReturn] += wanted;
    mine.at[kReturnSquared] += wanted * wanted;
    mine.at[kError] += error;
    mine.at[kErrorSquared] += error * error;
  });
}

}  // namespace

cudaError_t launch_pairwise_preference(void* dscores, double* sums, const void* scores, const std::int32_t* pairs,
                                       const void* margins, const void* weights, double centering, DType acc,
                                       std::int64_t answers, std::int64_t count, const IdCheck& check,
                                       cudaStream_t stream) {
  return with_acc(acc, [&](auto type) {
    using T = decltype(type);
    const Pairs<T> all{static_cast<const T*>(scores),
                       static_cast<const T*>(margins),
                       static_cast<const T*>(weights),
                       pairs,
                       count,
                       centering,
                       check};
    if (count > 0) {
      const cudaError_t status = launch(pairs_kernel<T>, {1, kThreads}, stream, sums, all);
      if (status != cudaSuccess) return status;
    }
    return for_each(AnswerGradient<T>{static_cast<T*>(dscores), all}, answers, stream);
  });
}

cudaError_t launch_pointwise_preference(void* dscores, double* sums, const void* scores, const void* labels,
                                        const void* weights, DType acc, std::int64_t answers, cudaStream_t stream) {
  if (answers == 0) return cudaSuccess;
  return with_acc(acc, [&](auto type) {
    using T = decltype(type);
    return launch(labels_kernel<T>, {1, kThreads}, stream, static_cast<T*>(dscores), sums,
                  static_cast<const T*>(scores), static_cast<const T*>(labels), static_cast<const T*>(weights),
                  answers);
  });
}

cudaError_t launch_value_regression(void* dvalues, double* sums, const void* values, const void* old_values,
                                    const void* returns, const void* weights, double clip, DType acc,
                                    std::int64_t tokens, cudaStream_t stream) {
  if (tokens == 0) return cudaSuccess;
  return with_acc(acc, [&](auto type) {
    using T = decltype(type);
    return launch(values_kernel<T>, {1, kThreads}, stream, static_cast<T*>(dvalues), sums,
                  static_cast<const T*>(values), static_cast<const T*>(old_values), static_cast<const T*>(returns),
                  static_cast<const T*>(weights), clip, tokens);
  });
}

}  // namespace athanor::cuda
