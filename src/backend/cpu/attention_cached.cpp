// Attention against a key/value cache (decode and prefill), and the per-head products of absorbed MLA.
// Legend: R query rows, H query heads, G key/value heads, Q width of a query/key head, V width of a value head.
#include <omp.h>

#include <cmath>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/matrix_product.hpp"

namespace athanor {

using cpu::data;
using cpu::require;

void CpuBackend::attention_cached(Tensor o, const Tensor& q, const Tensor& k_cache, const Tensor& v_cache,
                                  const Tensor& slots_R, const Tensor& lengths_R, std::int64_t rows_per_slot,
                                  const AttentionArgs& args, Stream& stream) {
  constexpr std::string_view kOp = "attention_cached";
  const std::int64_t rows = q.shape().flat_rows();
  require(args.num_heads > 0 && args.num_kv_heads > 0 && args.num_heads % args.num_kv_heads == 0, kOp,
          "query heads a multiple of key/value heads", q, k_cache);
  require(q.shape().back() == args.num_heads * args.qk_dim, kOp, "queries of H*Q columns", q);
  require(k_cache.shape().back() == args.num_kv_heads * args.qk_dim, kOp, "a key cache of G*Q columns", k_cache);
  require(o.shape().flat_rows() == rows && o.shape().back() == args.num_heads * args.v_dim, kOp,
          "an output of H*V columns", o, q);
  if (v_cache.defined())
    require(v_cache.shape().back() == args.num_kv_heads * args.v_dim &&
                v_cache.shape().flat_rows() == k_cache.shape().flat_rows() && v_cache.dtype() == q.dtype(),
            kOp, "a value cache of G*V columns, rows and type of the key cache", v_cache, k_cache);
  else
    require(args.v_dim <= args.qk_dim, kOp, "values within the key row (v_dim <= qk_dim)", k_cache);
  require(rows_per_slot > 0 && k_cache.shape().flat_rows() % rows_per_slot == 0, kOp, "whole slots of rows_per_slot",
          k_cache);
  require(slots_R.dtype() == DType::i32 && slots_R.numel() == rows && lengths_R.dtype() == DType::i32 &&
              lengths_R.numel() == rows,
          kOp, "i32 slots [R] and lengths [R]", slots_R, lengths_R);
  require(k_cache.dtype() == q.dtype() && o.dtype() == q.dtype(), kOp, "operands of one type", q, k_cache);
  cpu::dispatch_floating(q.dtype(), kOp, [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=, a = args] {
      const std::int64_t heads = a.num_heads, group = heads / a.num_kv_heads;
      const T* values = v_cache.defined() ? data<T>(v_cache) : data<T>(k_cache);
      const std::int64_t value_stride = v_cache.defined() ? a.v_dim : a.qk_dim;
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t unit = 0; unit < rows * heads; ++unit) {
        const std::int64_t r = unit / heads, h = unit % heads, g = h / group;
        const std::int64_t first = data<std::int32_t>(slots_R)[r] * rows_per_slot;
        const std::int64_t length = data<std::int32_t>(lengths_R)[r];
        const T* q_row = data<T>(q) + unit * a.qk_dim;
        thread_local std::vector<Acc> p, sum;
        p.assign(static_cast<std::size_t>(length), Acc{});
        sum.assign(static_cast<std::size_t>(a.v_dim), Acc{});
        Acc top = -INFINITY, total{};
        for (std::int64_t j = 0; j < length; ++j) {
          const T* k_row = data<T>(k_cache) + ((first + j) * a.num_kv_heads + g) * a.qk_dim;
          Acc s{};
          for (std::int64_t d = 0; d < a.qk_dim; ++d) s += cpu::load(q_row[d]) * cpu::load(k_row[d]);
          p[static_cast<std::size_t>(j)] = s * static_cast<Acc>(a.scale);
          top = std::max(top, p[static_cast<std::size_t>(j)]);
        }
        for (std::int64_t j = 0; j < length; ++j) {
          const Acc e = std::exp(p[static_cast<std::size_t>(j)] - top);
          const T* v_row = values + ((first + j) * a.num_kv_heads + g) * value_stride;
          total += e;
          for (std::int64_t d = 0; d < a.v_dim; ++d) sum[static_cast<std::size_t>(d)] += e * cpu::load(v_row[d]);
        }
        for (std::int64_t d = 0; d < a.v_dim; ++d)
          data<T>(o)[unit * a.v_dim + d] = cpu::store<T>(sum[static_cast<std::size_t>(d)] / total);
      }
    });
  });
}

void CpuBackend::per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                               std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream) {
  constexpr std::string_view kOp = "per_head_gemm";
  const std::int64_t rows = x.shape().flat_rows(), columns = w.shape().back();
  const std::int64_t in = transpose == Transpose::no ? columns : count;
  const std::int64_t out = transpose == Transpose::no ? count : columns;
  require(first >= 0 && count >= 0 && first + count <= stride && w.shape().flat_rows() == num_heads * stride, kOp,
          "a weight of H*stride rows with the slice inside", w);
  require(x.shape().back() == num_heads * in, kOp, "an input of " + std::to_string(num_heads * in) + " columns", x, w);
  require(y.shape().flat_rows() == rows && y.shape().back() == num_heads * out, kOp,
          "an output of " + std::to_string(num_heads * out) + " columns", y, x);
  require(x.dtype() == w.dtype() && y.dtype() == x.dtype(), kOp, "operands of one type", x, w);
  cpu::dispatch_floating(x.dtype(), kOp, [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      constexpr std::int64_t kRows = 512;  // a multiple of 16: rows stay independent of their company
      const std::int64_t pieces = (rows + kRows - 1) / kRows;
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t unit = 0; unit < pieces * num_heads; ++unit) {
        const std::int64_t h = unit % num_heads, begin = unit / num_heads * kRows;
        const cpu::MatrixProduct p{Transpose::no,
                                   transpose == Transpose::no ? Transpose::yes : Transpose::no,
                                   std::min(kRows, rows - begin),
                                   out,
                                   in,
                                   num_heads * in,
                                   columns,
                                   num_heads * out,
                                   false};
        cpu::multiply(p, data<T>(x) + (begin * num_heads + h) * in, data<T>(w) + (h * stride + first) * columns,
                      data<T>(y) + (begin * num_heads + h) * out);
      }
    });
  });
}

}  // namespace athanor
