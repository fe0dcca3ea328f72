// Losses of a scalar head: preferences between answers, labels of answers, values of tokens.
// Law: one pass in the order of pairs, answers or tokens, sums in f64; what has weight 0 counts for nothing. Written
// with softplus(x) = max(x, 0) + log1p(exp(-|x|)), so that no score is too large.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/row_ids.hpp"

namespace athanor {
namespace {

using cpu::data;

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double sigmoid(double x) {
  const double small = std::exp(-std::abs(x));
  return x >= 0.0 ? 1.0 / (1.0 + small) : small / (1.0 + small);
}

template <class T>
double number(const T& x) {
  return static_cast<double>(cpu::load(x));
}

void require_sums(const char* op, const Tensor& sums_8) {
  require(sums_8.numel() == kNumScalarSums && sums_8.dtype() == DType::f64, op, "eight f64 sums", sums_8);
}

}  // namespace

void CpuBackend::pairwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& pairs_P2,
                                     const Tensor& margins_P, const Tensor& weights_P, double centering,
                                     Stream& stream) {
  const char* op = "pairwise_preference";
  const std::int64_t answers = scores_N.numel(), pairs = weights_P.numel();
  require_sums(op, sums_8);
  require_numbers(op, scores_N, {&dscores_N});
  require(pairs_P2.dtype() == DType::i32 && pairs_P2.numel() == 2 * pairs, op, "two i32 answers a weight", pairs_P2,
          weights_P);
  require(weights_P.dtype() == scores_N.dtype(), op, "weights of the type of the scores", weights_P, scores_N);
  if (margins_P.defined()) require_numbers(op, weights_P, {&margins_P});
  cpu::dispatch_acc(scores_N.dtype(), op, [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const T *scores = data<T>(scores_N), *weights = data<T>(weights_P);
      const T* margins = margins_P.defined() ? data<T>(margins_P) : nullptr;
      const auto* ids = data<std::int32_t>(pairs_P2);
      T* dscores = data<T>(dscores_N);
      auto* sums = data<double>(sums_8);
      cpu::require_ids(op, ids, 2 * pairs, answers);
      std::fill_n(dscores, answers, T{0});
      for (std::int64_t p = 0; p < pairs; ++p) {
        const double weight = number(weights[p]);
        if (weight == 0.0) continue;
        const std::int32_t better = ids[2 * p], worse = ids[2 * p + 1];
        const double good = number(scores[better]), bad = number(scores[worse]);
        const double difference = good - bad - (margins ? number(margins[p]) : 0.0), both = good + bad;
        const double pull = -sigmoid(-difference), centre = 2.0 * centering * both;
        dscores[better] += static_cast<T>(weight * (centre + pull));
        dscores[worse] += static_cast<T>(weight * (centre - pull));
        sums[kPreferenceLoss] += weight * (softplus(-difference) + centering * both * both);
        sums[kPreferenceCount] += 1.0;
        sums[kPreferenceRight] += good > bad ? 1.0 : 0.0;
        sums[kPreferenceGoodScore] += good;
        sums[kPreferenceGoodCount] += 1.0;
        sums[kPreferenceBadScore] += bad;
        sums[kPreferenceBadCount] += 1.0;
      }
    });
  });
}

void CpuBackend::pointwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& labels_N,
                                      const Tensor& weights_N, Stream& stream) {
  const char* op = "pointwise_preference";
  const std::int64_t answers = scores_N.numel();
  require_sums(op, sums_8);
  require_numbers(op, scores_N, {&dscores_N, &labels_N, &weights_N});
  cpu::dispatch_acc(scores_N.dtype(), op, [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const T *scores = data<T>(scores_N), *labels = data<T>(labels_N), *weights = data<T>(weights_N);
      T* dscores = data<T>(dscores_N);
      auto* sums = data<double>(sums_8);
      for (std::int64_t n = 0; n < answers; ++n) {
        const double weight = number(weights[n]);
        dscores[n] = T{0};
        if (weight == 0.0) continue;
        const double score = number(scores[n]), label = number(labels[n]);
        const bool good = label > 0.5;
        dscores[n] = static_cast<T>(weight * (sigmoid(score) - label));
        sums[kPreferenceLoss] += weight * (softplus(score) - label * score);
        sums[kPreferenceCount] += 1.0;
        sums[kPreferenceRight] += (score > 0.0) == good ? 1.0 : 0.0;
        sums[good ? kPreferenceGoodScore : kPreferenceBadScore] += score;
        sums[good ? kPreferenceGoodCount : kPreferenceBadCount] += 1.0;
      }
    });
  });
}

void CpuBackend::value_regression(Tensor dvalues_T, Tensor sums_8, const Tensor& values_T, const Tensor& old_values_T,
                                  const Tensor& returns_T, const Tensor& weights_T, double clip, Stream& stream) {
  const char* op = "value_regression";
  const std::int64_t tokens = values_T.numel();
  require_sums(op, sums_8);
  require_numbers(op, values_T, {&dvalues_T, &returns_T, &weights_T});
  if (clip > 0.0) require_numbers(op, values_T, {&old_values_T});
  cpu::dispatch_acc(values_T.dtype(), op, [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const T *values = data<T>(values_T), *returns = data<T>(returns_T), *weights = data<T>(weights_T);
      const T* old = clip > 0.0 ? data<T>(old_values_T) : nullptr;
      T* dvalues = data<T>(dvalues_T);
      auto* sums = data<double>(sums_8);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const double weight = number(weights[t]);
        dvalues[t] = T{0};
        if (weight == 0.0) continue;
        const double value = number(values[t]), wanted = number(returns[t]), error = wanted - value;
        double squared = error * error;
        bool clipped = false;
        if (old) {
          const double near = number(old[t]);
          const double kept = wanted - std::clamp(value, near - clip, near + clip);
          clipped = kept * kept > squared;
          if (clipped) squared = kept * kept;
        }
        if (!clipped) dvalues[t] = static_cast<T>(-weight * error);
        sums[kValueLoss] += 0.5 * weight * squared;
        sums[kValueTokens] += 1.0;
        sums[kValueClipped] += clipped ? 1.0 : 0.0;
        sums[kValueSum] += value;
        sums[kValueReturn] += wanted;
        sums[kValueReturnSquared] += wanted * wanted;
        sums[kValueError] += error;
        sums[kValueErrorSquared] += error * error;
      }
    });
  });
}

}  // namespace athanor
