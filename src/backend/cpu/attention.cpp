// Causal attention for training: o = softmax(scale * q k^T) v with documents kept apart by key_begin_T, and its
// backward. Legend: T tokens, H query heads, G key/value heads, Q width of a query/key head, V width of a value head.
#include <cmath>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::require;

void require_attention(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                       const Tensor& lse_TH, const Tensor& key_begin_T, const AttentionArgs& a) {
  const std::int64_t tokens = q.shape().flat_rows();
  require(a.num_heads > 0 && a.num_kv_heads > 0 && a.num_heads % a.num_kv_heads == 0, op,
          "query heads a multiple of key/value heads", q, k);
  require(q.shape().back() == a.num_heads * a.qk_dim, op, "queries of H*Q columns", q);
  require(k.shape().back() == a.num_kv_heads * a.qk_dim, op, "keys of G*Q columns", k);
  require(v.shape().back() == a.num_kv_heads * a.v_dim, op, "values of G*V columns", v);
  require(o.shape().back() == a.num_heads * a.v_dim, op, "an output of H*V columns", o);
  require(k.shape().flat_rows() == tokens && v.shape().flat_rows() == tokens && o.shape().flat_rows() == tokens, op,
          "as many rows of k, v, o as of q", q, k);
  require(k.dtype() == q.dtype() && v.dtype() == q.dtype() && o.dtype() == q.dtype(), op, "operands of one type", q, k);
  require(lse_TH.dtype() == accumulation_dtype(q.dtype()) && lse_TH.numel() == tokens * a.num_heads, op,
          "lse [T, H] of the accumulation type", lse_TH, q);
  require(key_begin_T.dtype() == DType::i32 && key_begin_T.numel() == tokens, op, "i32 key_begin [T]", key_begin_T, q);
}

}  // namespace

void CpuBackend::attention_forward(Tensor o, Tensor lse_TH, const Tensor& q, const Tensor& k, const Tensor& v,
                                   const Tensor& key_begin_T, const AttentionArgs& args, Stream& stream) {
  require_attention("attention_forward", q, k, v, o, lse_TH, key_begin_T, args);
  cpu::dispatch_floating(q.dtype(), "attention_forward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=, a = args] {
      const std::int64_t tokens = q.shape().flat_rows(), heads = a.num_heads, group = heads / a.num_kv_heads;
      const auto* begin = data<std::int32_t>(key_begin_T);
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t unit = 0; unit < tokens * heads; ++unit) {
        const std::int64_t t = unit / heads, h = unit % heads, g = h / group;
        const T* q_row = data<T>(q) + unit * a.qk_dim;
        thread_local std::vector<Acc> p, sum;
        p.assign(static_cast<std::size_t>(t + 1 - begin[t]), Acc{});
        sum.assign(static_cast<std::size_t>(a.v_dim), Acc{});
        Acc top = -INFINITY;
        for (std::int64_t j = begin[t]; j <= t; ++j) {
          const T* k_row = data<T>(k) + (j * a.num_kv_heads + g) * a.qk_dim;
          Acc s{};
          for (std::int64_t d = 0; d < a.qk_dim; ++d) s += cpu::load(q_row[d]) * cpu::load(k_row[d]);
          s *= static_cast<Acc>(a.scale);
          p[static_cast<std::size_t>(j - begin[t])] = s;
          top = std::max(top, s);
        }
        Acc total{};
        for (std::int64_t j = begin[t]; j <= t; ++j) {
          const Acc e = std::exp(p[static_cast<std::size_t>(j - begin[t])] - top);
          const T* v_row = data<T>(v) + (j * a.num_kv_heads + g) * a.v_dim;
          total += e;
          for (std::int64_t d = 0; d < a.v_dim; ++d) sum[static_cast<std::size_t>(d)] += e * cpu::load(v_row[d]);
        }
        T* o_row = data<T>(o) + unit * a.v_dim;
        for (std::int64_t d = 0; d < a.v_dim; ++d) o_row[d] = cpu::store<T>(sum[static_cast<std::size_t>(d)] / total);
        data<Acc>(lse_TH)[unit] = top + std::log(total);
      }
    });
  });
}

void CpuBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, const Tensor& d_o, const Tensor& q,
                                    const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse_TH,
                                    const Tensor& key_begin_T, const AttentionArgs& args, Stream& stream) {
  require_attention("attention_backward", q, k, v, o, lse_TH, key_begin_T, args);
  require_attention("attention_backward", dq, dk, dv, d_o, lse_TH, key_begin_T, args);
  require(dq.dtype() == q.dtype(), "attention_backward", "gradients of the operands' type", dq, q);
  cpu::dispatch_floating(q.dtype(), "attention_backward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=, a = args] {
      const std::int64_t tokens = q.shape().flat_rows(), heads = a.num_heads, group = heads / a.num_kv_heads;
      const auto* begin = data<std::int32_t>(key_begin_T);
      const auto scale = static_cast<Acc>(a.scale);
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t g = 0; g < a.num_kv_heads; ++g) {
        thread_local std::vector<Acc> dk_acc, dv_acc, dq_acc;
        dk_acc.assign(static_cast<std::size_t>(tokens * a.qk_dim), Acc{});
        dv_acc.assign(static_cast<std::size_t>(tokens * a.v_dim), Acc{});
        for (std::int64_t h = g * group; h < (g + 1) * group; ++h)
          for (std::int64_t t = 0; t < tokens; ++t) {
            const std::int64_t row = t * heads + h;
            const T* q_row = data<T>(q) + row * a.qk_dim;
            const T* o_row = data<T>(o) + row * a.v_dim;
            const T* do_row = data<T>(d_o) + row * a.v_dim;
            Acc delta{};
            for (std::int64_t d = 0; d < a.v_dim; ++d) delta += cpu::load(o_row[d]) * cpu::load(do_row[d]);
            dq_acc.assign(static_cast<std::size_t>(a.qk_dim), Acc{});
            for (std::int64_t j = begin[t]; j <= t; ++j) {
              const T* k_row = data<T>(k) + (j * a.num_kv_heads + g) * a.qk_dim;
              const T* v_row = data<T>(v) + (j * a.num_kv_heads + g) * a.v_dim;
              Acc s{}, dp{};
              for (std::int64_t d = 0; d < a.qk_dim; ++d) s += cpu::load(q_row[d]) * cpu::load(k_row[d]);
              for (std::int64_t d = 0; d < a.v_dim; ++d) dp += cpu::load(do_row[d]) * cpu::load(v_row[d]);
              const Acc p = std::exp(s * scale - data<Acc>(lse_TH)[row]);
              const Acc ds = p * (dp - delta) * scale;
              Acc* dk_row = dk_acc.data() + j * a.qk_dim;
              Acc* dv_row = dv_acc.data() + j * a.v_dim;
              for (std::int64_t d = 0; d < a.v_dim; ++d) dv_row[d] += p * cpu::load(do_row[d]);
              for (std::int64_t d = 0; d < a.qk_dim; ++d) {
                dk_row[d] += ds * cpu::load(q_row[d]);
                dq_acc[static_cast<std::size_t>(d)] += ds * cpu::load(k_row[d]);
              }
            }
            for (std::int64_t d = 0; d < a.qk_dim; ++d)
              data<T>(dq)[row * a.qk_dim + d] = cpu::store<T>(dq_acc[static_cast<std::size_t>(d)]);
          }
        for (std::int64_t t = 0; t < tokens; ++t) {
          const std::int64_t row = t * a.num_kv_heads + g;
          for (std::int64_t d = 0; d < a.qk_dim; ++d)
            data<T>(dk)[row * a.qk_dim + d] = cpu::store<T>(dk_acc[static_cast<std::size_t>(t * a.qk_dim + d)]);
          for (std::int64_t d = 0; d < a.v_dim; ++d)
            data<T>(dv)[row * a.v_dim + d] = cpu::store<T>(dv_acc[static_cast<std::size_t>(t * a.v_dim + d)]);
        }
      }
    });
  });
}

}  // namespace athanor
