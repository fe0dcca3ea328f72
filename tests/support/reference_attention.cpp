#include <cmath>

#include "tests/support/reference_index.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor::reference {
namespace {

double dot(const double* a, const double* b, std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// softmax(scores) and log sum exp(scores).
double softmax(Values& scores) {
  double highest = scores[0], sum = 0.0;
  for (const double s : scores) highest = std::max(highest, s);
  for (const double s : scores) sum += std::exp(s - highest);
  const double lse = highest + std::log(sum);
  for (double& s : scores) s = std::exp(s - lse);
  return lse;
}

/// Attention probabilities of token t, head h over its keys, and their log sum exp.
Values probabilities(const Values& q, const Values& k, const Ids& key_begin_T, const AttentionArgs& args,
                     std::int64_t t, std::int64_t h, double* lse = nullptr) {
  const std::int64_t group = h / (args.num_heads / args.num_kv_heads);
  Values p;
  for (std::int64_t j = key_begin_T[u(t)]; j <= t; ++j)
    p.push_back(args.scale * dot(&q[u((t * args.num_heads + h) * args.qk_dim)],
                                 &k[u((j * args.num_kv_heads + group) * args.qk_dim)], args.qk_dim));
  const double value = softmax(p);
  if (lse) *lse = value;
  return p;
}

}  // namespace

KeysValues mla_assemble_kv(const Values& kv, const Values& k_pe, std::int64_t num_heads, std::int64_t nope,
                           std::int64_t rope, std::int64_t value) {
  const auto tokens = static_cast<std::int64_t>(kv.size()) / (num_heads * (nope + value));
  KeysValues out;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < num_heads; ++h) {
      const std::int64_t head = (t * num_heads + h) * (nope + value);
      for (std::int64_t i = 0; i < nope; ++i) out.k.push_back(kv[u(head + i)]);
      for (std::int64_t i = 0; i < rope; ++i) out.k.push_back(k_pe[u(t * rope + i)]);
      for (std::int64_t i = 0; i < value; ++i) out.v.push_back(kv[u(head + nope + i)]);
    }
  return out;
}

KeysValuesGradient mla_assemble_kv_backward(const Values& dk, const Values& dv, std::int64_t num_heads,
                                            std::int64_t nope, std::int64_t rope, std::int64_t value) {
  const auto tokens = static_cast<std::int64_t>(dk.size()) / (num_heads * (nope + rope));
  KeysValuesGradient out{Values(u(tokens * num_heads * (nope + value))), Values(u(tokens * rope))};
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < num_heads; ++h) {
      const std::int64_t head = t * num_heads + h;
      for (std::int64_t i = 0; i < nope; ++i) out.dkv[u(head * (nope + value) + i)] = dk[u(head * (nope + rope) + i)];
      for (std::int64_t i = 0; i < value; ++i) out.dkv[u(head * (nope + value) + nope + i)] = dv[u(head * value + i)];
      for (std::int64_t i = 0; i < rope; ++i) out.dk_pe[u(t * rope + i)] += dk[u(head * (nope + rope) + nope + i)];
    }
  return out;
}

Attended attention_forward(const Values& q, const Values& k, const Values& v, const Ids& key_begin_T,
                           const AttentionArgs& args) {
  const auto tokens = static_cast<std::int64_t>(key_begin_T.size());
  Attended out{Values(u(tokens * args.num_heads * args.v_dim)), Values(u(tokens * args.num_heads))};
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < args.num_heads; ++h) {
      const std::int64_t group = h / (args.num_heads / args.num_kv_heads);
      const Values p = probabilities(q, k, key_begin_T, args, t, h, &out.lse_TH[u(t * args.num_heads + h)]);
      for (std::int64_t j = key_begin_T[u(t)]; j <= t; ++j)
        for (std::int64_t i = 0; i < args.v_dim; ++i)
          out.o[u((t * args.num_heads + h) * args.v_dim + i)] +=
              p[u(j - key_begin_T[u(t)])] * v[u((j * args.num_kv_heads + group) * args.v_dim + i)];
    }
  return out;
}

AttentionGradient attention_backward(const Values& d_o, const Values& q, const Values& k, const Values& v,
                                     const Ids& key_begin_T, const AttentionArgs& args) {
  const auto tokens = static_cast<std::int64_t>(key_begin_T.size());
  AttentionGradient out{Values(q.size()), Values(k.size()), Values(v.size())};
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < args.num_heads; ++h) {
      const std::int64_t group = h / (args.num_heads / args.num_kv_heads), begin = key_begin_T[u(t)];
      const std::int64_t query = (t * args.num_heads + h) * args.qk_dim,
                         out_row = (t * args.num_heads + h) * args.v_dim;
      const Values p = probabilities(q, k, key_begin_T, args, t, h);
      Values dp;
      double mean = 0.0;
      for (std::int64_t j = begin; j <= t; ++j) {
        const std::int64_t value_row = (j * args.num_kv_heads + group) * args.v_dim;
        dp.push_back(dot(&d_o[u(out_row)], &v[u(value_row)], args.v_dim));
        mean += p[u(j - begin)] * dp.back();
        for (std::int64_t i = 0; i < args.v_dim; ++i) out.dv[u(value_row + i)] += p[u(j - begin)] * d_o[u(out_row + i)];
      }
      for (std::int64_t j = begin; j <= t; ++j) {
        const std::int64_t key_row = (j * args.num_kv_heads + group) * args.qk_dim;
        const double dscore = args.scale * p[u(j - begin)] * (dp[u(j - begin)] - mean);
        for (std::int64_t i = 0; i < args.qk_dim; ++i) {
          out.dq[u(query + i)] += dscore * k[u(key_row + i)];
          out.dk[u(key_row + i)] += dscore * q[u(query + i)];
        }
      }
    }
  return out;
}

Ids cache_rows(const Ids& pages_SP, std::int64_t pages_per_slot, const Ids& slots_R, const Ids& positions_R,
               const Ids& lengths_R, std::int64_t page_rows) {
  Ids rows;
  for (std::size_t r = 0; r < slots_R.size(); ++r) {
    const std::int64_t page = pages_SP[u(slots_R[r] * pages_per_slot + positions_R[r] / page_rows)];
    rows.push_back(lengths_R[r] == 0 ? -1 : static_cast<std::int32_t>(page * page_rows + positions_R[r] % page_rows));
  }
  return rows;
}

Values attention_cached(const Values& q, const Values& k_cache, const Values& v_cache, const Ids& pages_SP,
                        std::int64_t pages_per_slot, const Ids& slots_R, const Ids& lengths_R, std::int64_t page_rows,
                        const AttentionArgs& args) {
  Values o(slots_R.size() * u(args.num_heads * args.v_dim));
  for (std::size_t r = 0; r < slots_R.size(); ++r)
    for (std::int64_t h = 0; h < args.num_heads; ++h) {
      const std::int64_t group = h / (args.num_heads / args.num_kv_heads);
      const std::int64_t row = static_cast<std::int64_t>(r) * args.num_heads + h;
      const auto row_of = [&](std::int64_t j) {
        const auto position = static_cast<std::int32_t>(j);
        return cache_rows(pages_SP, pages_per_slot, {slots_R[r]}, {position}, {position + 1}, page_rows)[0];
      };
      const auto key_row = [&](std::int64_t j) { return (row_of(j) * args.num_kv_heads + group) * args.qk_dim; };
      Values p;
      for (std::int64_t j = 0; j < lengths_R[r]; ++j)
        p.push_back(args.scale * dot(&q[u(row * args.qk_dim)], &k_cache[u(key_row(j))], args.qk_dim));
      if (p.empty()) continue;
      softmax(p);
      for (std::int64_t j = 0; j < lengths_R[r]; ++j)
        for (std::int64_t i = 0; i < args.v_dim; ++i)
          o[u(row * args.v_dim + i)] +=
              p[u(j)] * (v_cache.empty() ? k_cache[u(key_row(j) + i)]
                                         : v_cache[u((row_of(j) * args.num_kv_heads + group) * args.v_dim + i)]);
    }
  return o;
}

}  // namespace athanor::reference
