// Rows of tokens to rows of experts and back. Law: a pair (t, k) is numbered t*K + k; rows of one expert keep the order
// of their pairs (a stable counting sort), so that every layout sums in one order. A row or expert of -1 is none: the
// pair is served by another rank.
#include <cstring>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/lanes.hpp"
#include "src/backend/cpu/row_ids.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::for_lanes;
using cpu::parallel_rows;

constexpr std::int64_t kPieceRows = 16;
constexpr std::int32_t kNone = -1;

}  // namespace

void CpuBackend::sort_by_expert(Tensor pair_of_R, Tensor row_of_TK, Tensor offsets_E1, const Tensor& expert_ids_TK,
                                Stream& stream) {
  const std::int64_t pairs = expert_ids_TK.numel(), rows = pair_of_R.numel(), num_experts = offsets_E1.numel() - 1;
  for (const Tensor& tensor : {pair_of_R, row_of_TK, offsets_E1, expert_ids_TK})
    require(tensor.dtype() == DType::i32, "sort_by_expert", "i32 everywhere", tensor);
  require(rows <= pairs && row_of_TK.numel() == pairs, "sort_by_expert", "a row for every pair", pair_of_R,
          expert_ids_TK);
  require(num_experts >= 0, "sort_by_expert", "offsets [E+1]", offsets_E1);
  run_on(stream, [=] {
    const auto* ids = data<std::int32_t>(expert_ids_TK);
    cpu::require_ids("sort_by_expert", ids, pairs, num_experts, kNone);
    auto *offsets = data<std::int32_t>(offsets_E1), *row_of = data<std::int32_t>(row_of_TK),
         *pair_of = data<std::int32_t>(pair_of_R);
    std::fill_n(offsets, num_experts + 1, 0);
    for (std::int64_t i = 0; i < pairs; ++i)
      if (ids[i] != kNone) ++offsets[ids[i] + 1];
    for (std::int64_t e = 0; e < num_experts; ++e) offsets[e + 1] += offsets[e];
    if (offsets[num_experts] != rows)
      throw Error("sort_by_expert: wanted a row for every pair, found " + std::to_string(rows) + " rows for " +
                  std::to_string(offsets[num_experts]) + " pairs with an expert");
    thread_local std::vector<std::int32_t> next;
    next.assign(offsets, offsets + num_experts);
    for (std::int64_t i = 0; i < pairs; ++i) {
      row_of[i] = kNone;
      if (ids[i] == kNone) continue;
      const std::int32_t row = next[static_cast<std::size_t>(ids[i])]++;
      row_of[i] = row;
      pair_of[row] = static_cast<std::int32_t>(i);
    }
  });
}

void CpuBackend::permute_rows(Tensor y_RD, const Tensor& x_TD, const Tensor& pair_of_R, std::int64_t top_k,
                              Stream& stream) {
  const std::int64_t rows = pair_of_R.numel(), tokens = x_TD.shape().flat_rows();
  require(pair_of_R.dtype() == DType::i32 && y_RD.shape().flat_rows() == rows, "permute_rows", "one i32 pair a row",
          y_RD, pair_of_R);
  require(y_RD.shape().back() == x_TD.shape().back() && y_RD.dtype() == x_TD.dtype(), "permute_rows",
          "rows of one width and type", y_RD, x_TD);
  require(top_k > 0, "permute_rows", "a positive top_k", y_RD);
  run_on(stream, [=] {
    const auto* pairs = data<std::int32_t>(pair_of_R);
    cpu::require_ids("permute_rows", pairs, rows, tokens * top_k);
    const auto bytes = x_TD.shape().back() * static_cast<std::int64_t>(size_bytes(x_TD.dtype()));
    std::byte* y = y_RD.unsafe_data();
    const std::byte* x = x_TD.unsafe_data();
    parallel_rows(rows, kPieceRows, 2 * bytes, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        std::memcpy(y + r * bytes, x + pairs[r] / top_k * bytes, static_cast<std::size_t>(bytes));
    });
  });
}

void CpuBackend::unpermute_rows(Tensor y_TD, const Tensor& x_RD, const Tensor& row_of_TK, const Tensor& weights_TK,
                                bool accumulate, Stream& stream) {
  const Unpermuted u = unpermuted("unpermute_rows", y_TD, x_RD, row_of_TK, weights_TK);
  cpu::dispatch_floating(x_RD.dtype(), "unpermute_rows", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const auto* rows = data<std::int32_t>(row_of_TK);
      cpu::require_ids("unpermute_rows", rows, u.tokens * u.top_k, u.rows, kNone);
      const T* x = data<T>(x_RD);
      const Acc* weights = weights_TK.defined() ? data<Acc>(weights_TK) : nullptr;
      T* y = data<T>(y_TD);
      const std::int64_t row_bytes = (u.top_k + (accumulate ? 2 : 1)) * u.width * std::int64_t{sizeof(T)};
      parallel_rows(u.tokens, kPieceRows, row_bytes, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          const auto* row_of_K = rows + t * u.top_k;
          const Acc* weights_K = weights ? weights + t * u.top_k : nullptr;
          T* out = y + t * u.width;
          for_lanes<Acc>(0, u.width, [=](auto at) {
            cpu::Lanes<Acc> sum = accumulate ? at.load(out) : cpu::Lanes<Acc>{};
            for (std::int64_t k = 0; k < u.top_k; ++k)
              if (row_of_K[k] != kNone) sum += at.load(x + row_of_K[k] * u.width) * (weights_K ? weights_K[k] : Acc{1});
            at.put(out, sum);
          });
        }
      });
    });
  });
}

void CpuBackend::unpermute_rows_backward(Tensor dx_RD, Tensor dweights_TK, const Tensor& dy_TD, const Tensor& x_RD,
                                         const Tensor& row_of_TK, const Tensor& weights_TK, Stream& stream) {
  const Unpermuted u = unpermuted("unpermute_rows_backward", dy_TD, x_RD, row_of_TK, weights_TK);
  unpermuted("unpermute_rows_backward", dy_TD, dx_RD, row_of_TK, dweights_TK);
  require(dx_RD.numel() == x_RD.numel(), "unpermute_rows_backward", "a gradient for every row", dx_RD, x_RD);
  cpu::dispatch_floating(x_RD.dtype(), "unpermute_rows_backward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const auto* rows = data<std::int32_t>(row_of_TK);
      cpu::require_ids("unpermute_rows_backward", rows, u.tokens * u.top_k, u.rows, kNone);
      const T *x = data<T>(x_RD), *dy = data<T>(dy_TD);
      const Acc* weights = weights_TK.defined() ? data<Acc>(weights_TK) : nullptr;
      Acc* dweights = dweights_TK.defined() ? data<Acc>(dweights_TK) : nullptr;
      T* dx = data<T>(dx_RD);
      const std::int64_t row_bytes = (2 * u.top_k + 1) * u.width * std::int64_t{sizeof(T)};
      parallel_rows(u.tokens, kPieceRows, row_bytes, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t)
          for (std::int64_t k = 0; k < u.top_k; ++k) {
            const std::int64_t pair = t * u.top_k + k, row = rows[pair];
            if (row == kNone) {
              if (dweights) dweights[pair] = Acc{};
              continue;
            }
            const T *dy_row = dy + t * u.width, *x_row = x + row * u.width;
            if (dweights) {
              dweights[pair] = cpu::sum_lanes<Acc>(u.width, [=](auto at) { return at.load(dy_row) * at.load(x_row); });
            }
            const Acc weight = weights ? weights[pair] : Acc{1};
            T* dx_row = dx + row * u.width;
            for_lanes<Acc>(0, u.width, [=](auto at) { at.put(dx_row, weight * at.load(dy_row)); });
          }
      });
    });
  });
}

}  // namespace athanor
