// Rows of tokens to rows of experts and back. Law: a pair (t, k) is numbered t*K + k; rows of one expert keep the order
// of their pairs, so that every layout sums in one order. A row or expert of -1 is none: another rank serves the pair.
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/memory_kernels.cuh"
#include "src/backend/cuda/permute_kernels.cuh"
#include "src/backend/cuda/stable_sort.cuh"

namespace athanor::cuda {
void CudaBackend::sort_by_expert(Tensor pair_of_R, Tensor row_of_TK, Tensor offsets_E1, const Tensor& expert_ids_TK,
                                 Stream& stream) {
  const std::int64_t pairs = expert_ids_TK.numel(), rows = pair_of_R.numel(), num_experts = offsets_E1.numel() - 1;
  for (const Tensor* tensor : std::initializer_list<const Tensor*>{&pair_of_R, &row_of_TK, &offsets_E1, &expert_ids_TK})
    require(tensor->dtype() == DType::i32, "sort_by_expert", "i32 everywhere", *tensor);
  require(rows <= pairs && row_of_TK.numel() == pairs, "sort_by_expert", "a row for every pair", pair_of_R,
          expert_ids_TK);
  require(num_experts >= 0, "sort_by_expert", "offsets [E+1]", offsets_E1);
  const Call call("sort_by_expert", stream, {pair_of_R, row_of_TK, offsets_E1, expert_ids_TK});
  const auto buckets = static_cast<std::int32_t>(num_experts + 1);  // the last: no expert
  auto* order = call.scratch<std::int32_t>(arena(), pairs + sort_workspace(pairs > 0 ? pairs : 1, buckets));
  const auto* ids = data<std::int32_t>(expert_ids_TK);
  auto* offsets = data<std::int32_t>(offsets_E1);
  call.check(launch_check_ids(ids, pairs, call.ids(num_experts, -1), call.stream()));
  call.check(launch_sort_pass(order, nullptr, offsets, order + pairs,
                              {ids, nullptr, pairs, num_experts, 0, 0x7fffffff, buckets}, call.stream()));
  call.check(launch_finish_sort(data<std::int32_t>(pair_of_R), data<std::int32_t>(row_of_TK), order, offsets, pairs,
                                rows, num_experts, call.ids("sort_by_expert (pairs with an expert)", rows + 1, rows),
                                call.stream()));
}

void CudaBackend::permute_rows(Tensor y_RD, const Tensor& x_TD, const Tensor& pair_of_R, std::int64_t top_k,
                               Stream& stream) {
  const std::int64_t rows = pair_of_R.numel();
  require(pair_of_R.dtype() == DType::i32 && y_RD.shape().flat_rows() == rows, "permute_rows", "one i32 pair a row",
          y_RD, pair_of_R);
  require(y_RD.shape().back() == x_TD.shape().back() && y_RD.dtype() == x_TD.dtype(), "permute_rows",
          "rows of one width and type", y_RD, x_TD);
  require(top_k > 0, "permute_rows", "a positive top_k", y_RD);
  const auto row_bytes = x_TD.shape().back() * static_cast<std::int64_t>(size_bytes(x_TD.dtype()));
  const Call call("permute_rows", stream, {y_RD, x_TD, pair_of_R});
  call.check(launch_gather_rows(raw(y_RD), raw(x_TD), data<std::int32_t>(pair_of_R), top_k, rows, row_bytes,
                                call.ids(x_TD.shape().flat_rows() * top_k), call.stream()));
}

void CudaBackend::unpermute_rows(Tensor y_TD, const Tensor& x_RD, const Tensor& row_of_TK, const Tensor& weights_TK,
                                 bool accumulate, Stream& stream) {
  const Unpermuted u = unpermuted("unpermute_rows", y_TD, x_RD, row_of_TK, weights_TK);
  const Call call("unpermute_rows", stream, {y_TD, x_RD, row_of_TK, weights_TK});
  call.check(launch_unpermute_rows(raw(y_TD), raw(x_RD), data<std::int32_t>(row_of_TK), raw(weights_TK), accumulate,
                                   x_RD.dtype(), u, call.ids(u.rows, -1), call.stream()));
}

void CudaBackend::unpermute_rows_backward(Tensor dx_RD, Tensor dweights_TK, const Tensor& dy_TD, const Tensor& x_RD,
                                          const Tensor& row_of_TK, const Tensor& weights_TK, Stream& stream) {
  const char* op = "unpermute_rows_backward";
  const Unpermuted u = unpermuted(op, dy_TD, x_RD, row_of_TK, weights_TK);
  unpermuted(op, dy_TD, dx_RD, row_of_TK, dweights_TK);
  require(dx_RD.numel() == x_RD.numel(), op, "a gradient for every row", dx_RD, x_RD);
  const Call call(op, stream, {dx_RD, dweights_TK, dy_TD, x_RD, row_of_TK, weights_TK});
  call.check(launch_unpermute_rows_backward(raw(dx_RD), raw(dweights_TK), raw(dy_TD), raw(x_RD),
                                            data<std::int32_t>(row_of_TK), raw(weights_TK), x_RD.dtype(), u,
                                            call.ids(u.rows, -1), call.stream()));
}

}  // namespace athanor::cuda
