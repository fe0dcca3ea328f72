#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/reference_ops.hpp"

namespace athanor::reference {
namespace {

double log_sum_exp(const double* row, std::int64_t width) {
  const double highest = *std::max_element(row, row + width);
  double sum = 0.0;
  for (std::int64_t i = 0; i < width; ++i) sum += std::exp(row[i] - highest);
  return highest + std::log(sum);
}

}  // namespace

CrossEntropy cross_entropy(const Values& logits_TV, const Ids& targets_T, const Values& weights_T,
                           std::int64_t vocabulary) {
  CrossEntropy out;
  for (std::size_t t = 0; t < targets_T.size(); ++t) {
    const double* row = logits_TV.data() + static_cast<std::int64_t>(t) * vocabulary;
    const double lse = log_sum_exp(row, vocabulary);
    out.losses_T.push_back(weights_T[t] == 0.0 ? 0.0 : lse - row[targets_T[t]]);
    for (std::int64_t i = 0; i < vocabulary; ++i)
      out.dlogits_TV.push_back(weights_T[t] * (std::exp(row[i] - lse) - (i == targets_T[t] ? 1.0 : 0.0)));
  }
  return out;
}

CrossEntropy distillation(const Values& logits_TV, const Values& teacher_logits_TV, const Values& weights_T,
                          std::int64_t vocabulary, bool reverse) {
  CrossEntropy out;
  for (std::size_t t = 0; t < weights_T.size(); ++t) {
    const double* student = logits_TV.data() + static_cast<std::int64_t>(t) * vocabulary;
    const double* teacher = teacher_logits_TV.data() + static_cast<std::int64_t>(t) * vocabulary;
    const double lse_q = log_sum_exp(student, vocabulary), lse_p = log_sum_exp(teacher, vocabulary);
    double divergence = 0.0;
    for (std::int64_t i = 0; i < vocabulary; ++i) {
      const double log_q = student[i] - lse_q, log_p = teacher[i] - lse_p;
      divergence += reverse ? std::exp(log_q) * (log_q - log_p) : std::exp(log_p) * (log_p - log_q);
    }
    out.losses_T.push_back(weights_T[t] == 0.0 ? 0.0 : divergence);
    for (std::int64_t i = 0; i < vocabulary; ++i) {
      const double log_q = student[i] - lse_q, log_p = teacher[i] - lse_p, q = std::exp(log_q);
      out.dlogits_TV.push_back(weights_T[t] * (reverse ? q * (log_q - log_p - divergence) : q - std::exp(log_p)));
    }
  }
  return out;
}

ScalarLoss pairwise_preference(const Values& scores_N, const Ids& pairs_P2, const Values& margins_P,
                               const Values& weights_P, double centering) {
  ScalarLoss out{.gradient = Values(scores_N.size())};
  for (std::size_t p = 0; p < weights_P.size(); ++p) {
    if (weights_P[p] == 0.0) continue;
    const auto better = static_cast<std::size_t>(pairs_P2[2 * p]),
               worse = static_cast<std::size_t>(pairs_P2[2 * p + 1]);
    const double d = scores_N[better] - scores_N[worse] - (margins_P.empty() ? 0.0 : margins_P[p]);
    const double both = scores_N[better] + scores_N[worse];
    // log(1 + exp(-d)) where exp does not overflow; -d to the last bit where it would.
    out.loss += weights_P[p] * ((d < -700.0 ? -d : std::log1p(std::exp(-d))) + centering * both * both);
    const double slope = -1.0 / (1.0 + std::exp(d));
    out.gradient[better] += weights_P[p] * (slope + 2.0 * centering * both);
    out.gradient[worse] += weights_P[p] * (-slope + 2.0 * centering * both);
    out.count += 1.0;
    if (scores_N[better] > scores_N[worse]) out.right += 1.0;
  }
  return out;
}

ScalarLoss pointwise_preference(const Values& scores_N, const Values& labels_N, const Values& weights_N) {
  ScalarLoss out{.gradient = Values(scores_N.size())};
  for (std::size_t n = 0; n < scores_N.size(); ++n) {
    if (weights_N[n] == 0.0) continue;
    const double s = scores_N[n], p = 1.0 / (1.0 + std::exp(-s));
    const double log_p = s < -700.0 ? s : -std::log1p(std::exp(-s)), log_q = s > 700.0 ? -s : -std::log1p(std::exp(s));
    out.loss -= weights_N[n] * (labels_N[n] * log_p + (1.0 - labels_N[n]) * log_q);
    out.gradient[n] = weights_N[n] * (p - labels_N[n]);
    out.count += 1.0;
    if ((s > 0.0) == (labels_N[n] > 0.5)) out.right += 1.0;
  }
  return out;
}

ScalarLoss value_regression(const Values& values_T, const Values& old_values_T, const Values& returns_T,
                            const Values& weights_T, double clip) {
  ScalarLoss out{.gradient = Values(values_T.size())};
  for (std::size_t t = 0; t < values_T.size(); ++t) {
    if (weights_T[t] == 0.0) continue;
    const double v = values_T[t], r = returns_T[t];
    double clipped = v;
    if (clip > 0.0) clipped = std::min(std::max(v, old_values_T[t] - clip), old_values_T[t] + clip);
    const double own = (v - r) * (v - r), other = (clipped - r) * (clipped - r);
    out.loss += weights_T[t] * 0.5 * std::max(own, other);
    if (other > own)
      out.right += 1.0;
    else
      out.gradient[t] = weights_T[t] * (v - r);
    out.count += 1.0;
  }
  return out;
}

AdamW adamw(AdamW state, const Values& grad, double grad_scale, const AdamWArgs& args) {
  const auto step = static_cast<double>(args.step);
  for (std::size_t i = 0; i < grad.size(); ++i) {
    const double g = grad[i] * grad_scale;
    state.m[i] = args.beta1 * state.m[i] + (1.0 - args.beta1) * g;
    state.v[i] = args.beta2 * state.v[i] + (1.0 - args.beta2) * g * g;
    const double m_hat = state.m[i] / (1.0 - std::pow(args.beta1, step));
    const double v_hat = state.v[i] / (1.0 - std::pow(args.beta2, step));
    state.master[i] -= args.lr * (m_hat / (std::sqrt(v_hat) + args.eps) + args.weight_decay * state.master[i]);
  }
  return state;
}

Values truncated_probabilities(const Values& logits_V, const SamplingArgs& args) {
  std::vector<std::size_t> order(logits_V.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits_V[a] > logits_V[b]; });
  Values p;
  for (const auto id : order) p.push_back(std::exp((logits_V[id] - logits_V[order[0]]) / args.temperature));
  if (args.top_k > 0 && p.size() > static_cast<std::size_t>(args.top_k)) p.resize(static_cast<std::size_t>(args.top_k));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  double sum = 0.0;
  for (std::size_t i = 0; i < p.size() && args.top_p < 1.0; ++i) {
    sum += p[i] / total;
    if (sum >= args.top_p) p.resize(i + 1);
  }
  while (p.back() < args.min_p * p.front()) p.pop_back();
  const double kept = std::accumulate(p.begin(), p.end(), 0.0);
  Values out(logits_V.size());
  for (std::size_t i = 0; i < p.size(); ++i) out[order[i]] = p[i] / kept;
  return out;
}

}  // namespace athanor::reference
