// Rows of OperationBench: operations that memory bounds.
#include <vector>

#include "jobs/bench/operation_bench.hpp"

namespace athanor {

void OperationBench::norms_and_sums() {
  const Tensor x_RD = numbers({s_.R, s_.D}), y_RD = ops_.empty({s_.R, s_.D}, dtype_), w_D = numbers({s_.D});
  const Tensor dy_RD = numbers({s_.R, s_.D}), dw_D = numbers({s_.D}, acc_), rstd_R = ops_.empty({s_.R}, acc_);
  moves("rms_norm forward", 2 * x_RD.bytes() + rstd_R.bytes(),
        [&] { ops_.rms_norm_forward(y_RD, rstd_R, x_RD, w_D, 1e-6, stream_); });
  moves("rms_norm backward", 3 * x_RD.bytes() + rstd_R.bytes(),
        [&] { ops_.rms_norm_backward_input(y_RD, dy_RD, x_RD, w_D, rstd_R, Tensor{}, stream_); });
  moves("rms_norm weight gradient", 2 * x_RD.bytes() + rstd_R.bytes(),
        [&] { ops_.rms_norm_backward_weight(dw_D, dy_RD, x_RD, rstd_R, stream_); });
  moves("add", 3 * x_RD.bytes(), [&] { ops_.add(y_RD, x_RD, dy_RD, stream_); });
  const Tensor gate_TF = numbers({s_.T, s_.F}), up_TF = numbers({s_.T, s_.F}), inner_TF = numbers({s_.T, s_.F});
  moves("swiglu forward", 3 * gate_TF.bytes(), [&] { ops_.swiglu_forward(inner_TF, gate_TF, up_TF, stream_); });
  const Tensor dgate_TF = ops_.empty(gate_TF.shape(), dtype_), dup_TF = ops_.empty(gate_TF.shape(), dtype_);
  moves("swiglu backward", 5 * gate_TF.bytes(),
        [&] { ops_.swiglu_backward(dgate_TF, dup_TF, inner_TF, gate_TF, up_TF, stream_); });
}

void OperationBench::rotation_and_assembly() {
  const std::int64_t width = s_.H * s_.Q, rope_dim = s_.Q / 2;
  const Tensor x_RC = numbers({s_.R, width});
  std::vector<std::int32_t> places;
  for (std::int64_t t = 0; t < s_.R; ++t) places.push_back(static_cast<std::int32_t>(t % s_.T));
  const Tensor positions_R = ids(places);
  const Tensor cos_P = ops_.empty({s_.T, s_.Q / 2}, acc_), sin_P = ops_.empty({s_.T, s_.Q / 2}, acc_);
  ops_.fill(cos_P, 0.8, stream_);  // an angle: numbers turned ever again keep their size
  ops_.fill(sin_P, 0.6, stream_);
  const RopeArgs args{.num_heads = s_.H, .head_dim = s_.Q, .rope_dim = s_.Q};
  moves("rope", 2 * x_RC.bytes() + positions_R.bytes() + cos_P.bytes() + sin_P.bytes(),
        [&] { ops_.rope(x_RC, positions_R, cos_P, sin_P, args, stream_); });
  // Key heads of Q entries and a shared half more, value heads of Q.
  const Tensor kv = numbers({s_.T, 2 * width}), k_pe = numbers({s_.T, rope_dim});
  const Tensor k = ops_.empty({s_.T, width + s_.H * rope_dim}, dtype_), v = ops_.empty({s_.T, width}, dtype_);
  const std::size_t bytes = kv.bytes() + k_pe.bytes() + k.bytes() + v.bytes();
  moves("mla assembly", bytes, [&] { ops_.mla_assemble_kv(k, v, kv, k_pe, s_.H, stream_); });
  moves("mla assembly backward", bytes, [&] { ops_.mla_assemble_kv_backward(kv, k_pe, k, v, s_.H, stream_); });
}

void OperationBench::tables_and_losses() {
  const Tensor table_VD = numbers({s_.V, s_.D}), rows_RD = ops_.empty({s_.R, s_.D}, dtype_);
  const Tensor ids_R = random_ids(s_.R, s_.V);
  moves("embedding", 2 * rows_RD.bytes() + ids_R.bytes(), [&] { ops_.gather_rows(rows_RD, table_VD, ids_R, stream_); });
  const Tensor drows_TD = numbers({s_.T, s_.D}), ids_T = random_ids(s_.T, s_.V);
  const Tensor dtable_VD = numbers({s_.V, s_.D}, acc_);
  moves("embedding gradient", drows_TD.bytes() + 2 * static_cast<std::size_t>(s_.T * s_.D) * size_bytes(acc_),
        [&] { ops_.scatter_add_rows(dtable_VD, drows_TD, ids_T, stream_); });
  const Tensor logits_TV = numbers({s_.T, s_.V}), dlogits_TV = ops_.empty({s_.T, s_.V}, dtype_);
  const Tensor losses_T = ops_.empty({s_.T}, acc_), weights_T = ops_.empty({s_.T}, acc_);
  ops_.fill(weights_T, 1.0, stream_);
  moves("cross entropy", 2 * logits_TV.bytes(),
        [&] { ops_.cross_entropy(losses_T, dlogits_TV, logits_TV, ids_T, weights_T, stream_); });
  moves("cross entropy, loss alone", logits_TV.bytes(),
        [&] { ops_.cross_entropy(losses_T, Tensor{}, logits_TV, ids_T, weights_T, stream_); });
}

void OperationBench::routing() {
  constexpr std::int64_t kTopK = 8;
  const std::int64_t experts = 4 * s_.E;
  const Tensor logits_RE = numbers({s_.R, experts}, acc_), scores_RE = ops_.empty({s_.R, experts}, acc_);
  const Tensor bias_E = numbers({experts}, acc_), ids_RK = ops_.empty({s_.R, kTopK}, DType::i32);
  const Tensor weights_RK = ops_.empty({s_.R, kTopK}, acc_);
  const RouterArgs args{
      .num_experts = experts, .top_k = kTopK, .num_groups = 8, .num_limited_groups = 4, .route_scale = 2.5};
  moves("router", 2 * logits_RE.bytes() + ids_RK.bytes() + weights_RK.bytes(),
        [&] { ops_.router_forward(scores_RE, ids_RK, weights_RK, logits_RE, bias_E, args, stream_); });
  const Tensor ids_TK = random_ids(s_.T * kTopK, experts).reshaped({s_.T, kTopK});
  const std::int64_t routed = s_.T * kTopK;
  const Tensor pair_of_R = ops_.empty({routed}, DType::i32), row_of_TK = ops_.empty({s_.T, kTopK}, DType::i32);
  const Tensor offsets_E1 = ops_.empty({experts + 1}, DType::i32);
  moves("sort by expert", 3 * ids_TK.bytes() + offsets_E1.bytes(),
        [&] { ops_.sort_by_expert(pair_of_R, row_of_TK, offsets_E1, ids_TK, stream_); });
  const Tensor x_TD = numbers({s_.T, s_.D}), rows_RD = numbers({routed, s_.D}), drows_RD = numbers({routed, s_.D});
  const Tensor weights_TK = numbers({s_.T, kTopK}, acc_), dweights_TK = ops_.empty({s_.T, kTopK}, acc_);
  moves("permute rows", x_TD.bytes() + rows_RD.bytes() + pair_of_R.bytes(),
        [&] { ops_.permute_rows(rows_RD, x_TD, pair_of_R, kTopK, stream_); });
  moves("unpermute rows", x_TD.bytes() + rows_RD.bytes() + row_of_TK.bytes() + weights_TK.bytes(),
        [&] { ops_.unpermute_rows(x_TD, rows_RD, row_of_TK, weights_TK, false, stream_); });
  moves("unpermute rows backward", x_TD.bytes() + 2 * rows_RD.bytes() + 3 * weights_TK.bytes(),
        [&] { ops_.unpermute_rows_backward(drows_RD, dweights_TK, x_TD, rows_RD, row_of_TK, weights_TK, stream_); });
}

void OperationBench::optimizer() {
  const Shape shape{4 * s_.D * s_.F};
  const Tensor master = numbers(shape, acc_), grad = numbers(shape, acc_), m = ops_.empty(shape, acc_),
               v = ops_.empty(shape, acc_);
  const Tensor weight = dtype_ == acc_ ? Tensor{} : ops_.empty(shape, dtype_);
  ops_.fill(m, 0.0, stream_);
  ops_.fill(v, 0.0, stream_);
  // Reads master, both moments and the gradient, writes all but the gradient.
  moves("adamw", 7 * master.bytes() + (weight.defined() ? weight.bytes() : 0),
        [&] { ops_.adamw(weight, master, m, v, grad, 1.0, AdamWArgs{.lr = 1e-3}, stream_); });
  const Tensor sum_1 = ops_.empty({1}, DType::f64);
  ops_.fill(sum_1, 0.0, stream_);
  moves("sum of squares", grad.bytes(), [&] { ops_.sum_squares(sum_1, grad, stream_); });
}

}  // namespace athanor
