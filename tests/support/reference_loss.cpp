#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/support/reference_ops.hpp"

namespace athanor::reference {

CrossEntropy cross_entropy(const Values& logits_TV, const Ids& targets_T, const Values& weights_T,
                           std::int64_t vocabulary) {
  CrossEntropy out;
  for (std::size_t t = 0; t < targets_T.size(); ++t) {
    const auto row = logits_TV.begin() + static_cast<std::int64_t>(t) * vocabulary;
    const double highest = *std::max_element(row, row + vocabulary);
    double sum = 0.0;
    for (std::int64_t i = 0; i < vocabulary; ++i) sum += std::exp(row[i] - highest);
    const double lse = highest + std::log(sum);
    out.losses_T.push_back(weights_T[t] == 0.0 ? 0.0 : lse - row[targets_T[t]]);
    for (std::int64_t i = 0; i < vocabulary; ++i)
      out.dlogits_TV.push_back(weights_T[t] * (std::exp(row[i] - lse) - (i == targets_T[t] ? 1.0 : 0.0)));
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
