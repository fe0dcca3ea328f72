#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/support/reference_index.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor::reference {
namespace {

/// Ids of all values in falling order, lower id first on a tie.
Ids falling_order(const Values& values) {
  Ids ids(values.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) { return values[u(a)] > values[u(b)]; });
  return ids;
}

Values row_of(const Values& values, std::int64_t row, std::int64_t width) {
  return Values(values.begin() + row * width, values.begin() + (row + 1) * width);
}

Values scores_of(const Values& logits, ScoreFunction function) {
  Values scores;
  if (function == ScoreFunction::sigmoid) {
    for (const double logit : logits) scores.push_back(1.0 / (1.0 + std::exp(-logit)));
    return scores;
  }
  const double highest = *std::max_element(logits.begin(), logits.end());
  for (const double logit : logits) scores.push_back(std::exp(logit - highest));
  const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
  for (double& score : scores) score /= sum;
  return scores;
}

Ids chosen(Values selection, const RouterArgs& args) {
  const std::int64_t size = args.num_experts / args.num_groups;
  Values group_scores;
  for (std::int64_t g = 0; g < args.num_groups; ++g) {
    const Values group = row_of(selection, g, size);
    const Ids order = falling_order(group);
    const std::int64_t counted = args.group_score_is_max ? 1 : std::min<std::int64_t>(2, size);
    double score = 0.0;
    for (std::int64_t i = 0; i < counted; ++i) score += group[u(order[u(i)])];
    group_scores.push_back(score);
  }
  const Ids groups = falling_order(group_scores);
  for (std::int64_t i = args.num_limited_groups; i < args.num_groups; ++i)
    for (std::int64_t e = 0; e < size; ++e)
      selection[u(groups[u(i)] * size + e)] = -std::numeric_limits<double>::infinity();
  Ids ids = falling_order(selection);
  ids.resize(u(args.top_k));
  return ids;
}

}  // namespace

Routed router_forward(const Values& logits_TE, const Values& bias_E, const RouterArgs& args) {
  Routed out;
  for (std::int64_t t = 0; t < static_cast<std::int64_t>(logits_TE.size()) / args.num_experts; ++t) {
    const Values scores = scores_of(row_of(logits_TE, t, args.num_experts), args.score_function);
    const Ids ids = chosen(add(scores, bias_E), args);
    double sum = 1e-20;
    for (const auto id : ids) sum += scores[u(id)];
    for (const auto id : ids)
      out.weights_TK.push_back(scores[u(id)] / (args.normalize_weights ? sum : 1.0) * args.route_scale);
    out.scores_TE.insert(out.scores_TE.end(), scores.begin(), scores.end());
    out.expert_ids_TK.insert(out.expert_ids_TK.end(), ids.begin(), ids.end());
  }
  return out;
}

Values router_backward(const Values& dweights_TK, const Values& dscores_TE, const Values& scores_TE,
                       const Ids& expert_ids_TK, const RouterArgs& args) {
  const std::int64_t experts = args.num_experts, top_k = args.top_k;
  Values dlogits(scores_TE.size());
  for (std::int64_t t = 0; t < static_cast<std::int64_t>(scores_TE.size()) / experts; ++t) {
    const Values s = row_of(scores_TE, t, experts);
    Values ds = dscores_TE.empty() ? Values(u(experts)) : row_of(dscores_TE, t, experts);
    double sum = 1e-20;
    for (std::int64_t k = 0; k < top_k; ++k) sum += s[u(expert_ids_TK[u(t * top_k + k)])];
    for (std::int64_t k = 0; k < top_k; ++k)
      for (std::int64_t j = 0; j < top_k; ++j) {
        // d weight_k / d s_j.
        const auto id_k = u(expert_ids_TK[u(t * top_k + k)]), id_j = u(expert_ids_TK[u(t * top_k + j)]);
        double slope = j == k ? 1.0 : 0.0;
        if (args.normalize_weights) slope = slope / sum - s[id_k] / (sum * sum);
        ds[id_j] += dweights_TK[u(t * top_k + k)] * args.route_scale * slope;
      }
    for (std::int64_t j = 0; j < experts; ++j)
      for (std::int64_t i = 0; i < experts; ++i) {
        // d s_i / d logit_j.
        double slope = 0.0;
        if (args.score_function == ScoreFunction::sigmoid)
          slope = i == j ? s[u(i)] * (1.0 - s[u(i)]) : 0.0;
        else
          slope = s[u(i)] * ((i == j ? 1.0 : 0.0) - s[u(j)]);
        dlogits[u(t * experts + j)] += ds[u(i)] * slope;
      }
  }
  return dlogits;
}

BalanceLoss sequence_balance_loss(const Values& scores_TE, std::int64_t num_experts, std::int64_t top_k,
                                  std::int64_t tokens_per_sequence, double alpha, double loss_scale) {
  const std::int64_t tokens = static_cast<std::int64_t>(scores_TE.size()) / num_experts;
  const std::int64_t sequences = tokens / tokens_per_sequence;
  const auto length = static_cast<double>(tokens_per_sequence);
  BalanceLoss out{0.0, Values(scores_TE.size())};
  for (std::int64_t s = 0; s < sequences; ++s) {
    Values f(u(num_experts)), p(u(num_experts));
    for (std::int64_t t = s * tokens_per_sequence; t < (s + 1) * tokens_per_sequence; ++t) {
      const Values scores = row_of(scores_TE, t, num_experts);
      const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
      const Ids order = falling_order(scores);
      for (std::int64_t k = 0; k < top_k; ++k)
        f[u(order[u(k)])] += static_cast<double>(num_experts) / (static_cast<double>(top_k) * length);
      for (std::int64_t e = 0; e < num_experts; ++e) p[u(e)] += scores[u(e)] / sum / length;
    }
    for (std::int64_t e = 0; e < num_experts; ++e)
      out.loss += alpha * f[u(e)] * p[u(e)] / static_cast<double>(sequences);
    for (std::int64_t t = s * tokens_per_sequence; t < (s + 1) * tokens_per_sequence; ++t) {
      const Values scores = row_of(scores_TE, t, num_experts);
      const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
      for (std::int64_t j = 0; j < num_experts; ++j)
        for (std::int64_t i = 0; i < num_experts; ++i) {
          // d s'_i / d s_j with s' = s / sum.
          const double slope = (i == j ? 1.0 / sum : 0.0) - scores[u(i)] / (sum * sum);
          out.dscores_TE[u(t * num_experts + j)] +=
              loss_scale * alpha / static_cast<double>(sequences) * f[u(i)] / length * slope;
        }
    }
  }
  return out;
}

std::vector<std::int64_t> count_experts(const Ids& expert_ids_TK, std::int64_t num_experts) {
  std::vector<std::int64_t> counts(u(num_experts));
  for (const auto id : expert_ids_TK) ++counts[u(id)];
  return counts;
}

Values router_bias_update(Values bias_E, const std::vector<std::int64_t>& counts_E, double speed) {
  double mean = 0.0;
  for (const auto count : counts_E) mean += static_cast<double>(count) / static_cast<double>(counts_E.size());
  for (std::size_t e = 0; e < bias_E.size(); ++e) {
    const auto count = static_cast<double>(counts_E[e]);
    if (count < mean) bias_E[e] += speed;
    if (count > mean) bias_E[e] -= speed;
  }
  return bias_E;
}

Sorted sort_by_expert(const Ids& expert_ids_TK, std::int64_t num_experts) {
  Sorted out;
  out.row_of_TK.resize(expert_ids_TK.size(), -1);
  for (std::int32_t e = 0; e < num_experts; ++e) {
    out.offsets_E1.push_back(static_cast<std::int32_t>(out.pair_of_R.size()));
    for (std::size_t pair = 0; pair < expert_ids_TK.size(); ++pair)
      if (expert_ids_TK[pair] == e) {
        out.row_of_TK[pair] = static_cast<std::int32_t>(out.pair_of_R.size());
        out.pair_of_R.push_back(static_cast<std::int32_t>(pair));
      }
  }
  out.offsets_E1.push_back(static_cast<std::int32_t>(out.pair_of_R.size()));
  return out;
}

Values permute_rows(const Values& x_TD, const Ids& pair_of_R, std::int64_t top_k, std::int64_t width) {
  Values out;
  for (const auto pair : pair_of_R)
    for (std::int64_t i = 0; i < width; ++i) out.push_back(x_TD[u(pair / top_k * width + i)]);
  return out;
}

Values unpermute_rows(const Values& x_RD, const Ids& row_of_TK, const Values& weights_TK, std::int64_t top_k,
                      std::int64_t width) {
  Values y(row_of_TK.size() / u(top_k) * u(width));
  for (std::size_t pair = 0; pair < row_of_TK.size(); ++pair)
    for (std::int64_t i = 0; i < width && row_of_TK[pair] >= 0; ++i)
      y[pair / u(top_k) * u(width) + u(i)] +=
          (weights_TK.empty() ? 1.0 : weights_TK[pair]) * x_RD[u(row_of_TK[pair] * width + i)];
  return y;
}

UnpermuteGradient unpermute_rows_backward(const Values& dy_TD, const Values& x_RD, const Ids& row_of_TK,
                                          const Values& weights_TK, std::int64_t top_k, std::int64_t width) {
  UnpermuteGradient out{Values(x_RD.size()), Values(row_of_TK.size())};
  for (std::size_t pair = 0; pair < row_of_TK.size(); ++pair)
    for (std::int64_t i = 0; i < width && row_of_TK[pair] >= 0; ++i) {
      const double dy = dy_TD[pair / u(top_k) * u(width) + u(i)];
      out.dx_RD[u(row_of_TK[pair] * width + i)] = (weights_TK.empty() ? 1.0 : weights_TK[pair]) * dy;
      out.dweights_TK[pair] += dy * x_RD[u(row_of_TK[pair] * width + i)];
    }
  return out;
}

}  // namespace athanor::reference
