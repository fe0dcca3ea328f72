#include "src/backend/cuda/attention_tiled.hpp"

#include "src/backend/cuda/operands.hpp"
#include "src/backend/cuda/tensor_map.hpp"

namespace athanor::cuda {
namespace {

constexpr int kBoxWidth = 64;

/// [rows, heads, width], boxes of `box_rows` rows of one head.
CUtensorMap rows_of_heads(const bf16* data, std::int64_t rows, int heads, int width, int box_rows) {
  return tensor_map(
      {data, sizeof(bf16), {width, heads, rows}, {width, std::int64_t{heads} * width}, {kBoxWidth, 1, box_rows}});
}

bool can_be_tiled(std::initializer_list<const Tensor*> operands, const AttentionArgs& args, const Call& call) {
  return has_hopper_kernels(call.device()) && whole_vectors(operands, {args.qk_dim, args.v_dim});
}

}  // namespace

TiledShape tiled_attend_shape_of(std::initializer_list<const Tensor*> operands, const AttentionArgs& args,
                                 const Call& call) {
  if (!can_be_tiled(operands, args, call)) return {};
  return tiled_attend_shape(static_cast<int>(args.qk_dim), static_cast<int>(args.v_dim));
}

TiledShape tiled_attend_backward_shape_of(std::initializer_list<const Tensor*> operands, const AttentionArgs& args,
                                          const Call& call) {
  if (!can_be_tiled(operands, args, call)) return {};
  return tiled_attend_backward_shape(static_cast<int>(args.qk_dim), static_cast<int>(args.v_dim));
}

TiledAttend tiled_attend(const AttendArgs<bf16>& a, const TiledShape& shape, std::int64_t tokens, std::int64_t keys) {
  return {a, rows_of_heads(a.q, tokens, a.num_heads, a.qk_dim, shape.rows),
          rows_of_heads(a.k, keys, a.num_kv_heads, a.qk_dim, shape.keys),
          rows_of_heads(a.v, keys, a.num_kv_heads, a.v_dim, shape.keys)};
}

TiledAttendBackward tiled_attend_backward(const AttendBackwardArgs<bf16>& a, const TiledShape& shape,
                                          std::int64_t tokens, std::int64_t keys) {
  const auto queries = [&](const bf16* data, int width, int box_rows) {
    return rows_of_heads(data, tokens, a.num_heads, width, box_rows);
  };
  const auto of_keys = [&](const bf16* data, int width, int box_rows) {
    return rows_of_heads(data, keys, a.num_kv_heads, width, box_rows);
  };
  return {.args = a,
          .k_own = of_keys(a.k, a.qk_dim, shape.rows),
          .v_own = of_keys(a.v, a.v_dim, shape.rows),
          .q_turn = queries(a.q, a.qk_dim, shape.keys),
          .d_o_turn = queries(a.d_o, a.v_dim, shape.keys),
          .q_own = queries(a.q, a.qk_dim, shape.rows),
          .d_o_own = queries(a.d_o, a.v_dim, shape.rows),
          .k_turn = of_keys(a.k, a.qk_dim, shape.keys),
          .v_turn = of_keys(a.v, a.v_dim, shape.keys)};
}

}  // namespace athanor::cuda
