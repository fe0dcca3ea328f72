#include "src/backend/cuda/attention.hpp"

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "src/backend/cuda/attention_tiled.hpp"
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/operands.hpp"

namespace athanor::cuda {
namespace {

template <class F>
void dispatch(DType dtype, std::string_view op, F&& f) {
  switch (dtype) {
    case DType::bf16:
      return f(bf16{});
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      throw Error(std::string(op) + ": wanted f32, bf16 or f64, found " + std::string(to_string(dtype)));
  }
}

int count_of(std::int64_t value) { return static_cast<int>(value); }

/// Arrays cut from one block of the arena.
class Workspace {
 public:
  /// Reserves; call take in the same order once the block is there.
  template <class T>
  void reserve(std::int64_t count) {
    bytes_ += padded<T>(count);
  }
  void allocate(Arena& arena, const Call& call) {
    const auto bytes = static_cast<std::int64_t>(std::max<std::size_t>(bytes_, 1));
    block_ = {
        arena.allocate(static_cast<std::size_t>(bytes)), 0, {bytes}, DType::u8, {Device::Kind::cuda, call.device()}};
    call.keep(block_);
  }
  template <class T>
  T* take(std::int64_t count) {
    auto* out = reinterpret_cast<T*>(block_.unsafe_data() + taken_);
    taken_ += padded<T>(count);
    return out;
  }

 private:
  template <class T>
  static std::size_t padded(std::int64_t count) {
    return (static_cast<std::size_t>(count) * sizeof(T) + 255) / 256 * 256;
  }
  std::size_t bytes_ = 0, taken_ = 0;
  Tensor block_;
};

void reserve_lists(Workspace& workspace, std::int64_t rows, std::int64_t key_tiles) {
  workspace.reserve<int>(TileLists::kNumCounts);
  workspace.reserve<QueryTile>(rows + 1);
  workspace.reserve<Stretch>(rows + 1);
  workspace.reserve<KeyTile>(key_tiles);
}
TileLists take_lists(Workspace& workspace, std::int64_t rows, std::int64_t key_tiles) {
  TileLists lists;
  lists.counts = workspace.take<int>(TileLists::kNumCounts);
  lists.query_tiles = workspace.take<QueryTile>(rows + 1);
  lists.stretches = workspace.take<Stretch>(rows + 1);
  lists.key_tiles = key_tiles > 0 ? workspace.take<KeyTile>(key_tiles) : nullptr;
  return lists;
}

[[noreturn]] void refuse_widths(const AttentionArgs& a, std::string_view op) {
  throw Error(std::string(op) + ": no kernel holds heads of " + std::to_string(a.qk_dim) + " and values of " +
              std::to_string(a.v_dim) + "; bf16 takes up to 256 (576 and 512 where values lie in the keys)");
}

template <class T>
TileLaunch attend_launch(const AttentionArgs& a, bool values_in_keys, std::string_view op) {
  const int qk_dim = count_of(a.qk_dim), v_dim = count_of(a.v_dim);
  const TileLaunch launch = std::same_as<T, bf16>    ? attend_launch_bf16(qk_dim, v_dim, values_in_keys)
                            : std::same_as<T, float> ? attend_launch_f32(qk_dim, v_dim, values_in_keys)
                                                     : attend_launch_f64(qk_dim, v_dim, values_in_keys);
  if (launch.blocks_per_processor == 0) refuse_widths(a, op);
  return launch;
}

template <class T>
BackwardLaunch backward_launch(const AttentionArgs& a, std::string_view op) {
  const int qk_dim = count_of(a.qk_dim), v_dim = count_of(a.v_dim);
  const BackwardLaunch launch = std::same_as<T, bf16>    ? attend_backward_launch_bf16(qk_dim, v_dim)
                                : std::same_as<T, float> ? attend_backward_launch_f32(qk_dim, v_dim)
                                                         : attend_backward_launch_f64(qk_dim, v_dim);
  if (launch.keys.blocks_per_processor == 0) refuse_widths(a, op);
  return launch;
}

template <class T>
AttendArgs<T> attend_args(const Tensor& o, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionArgs& a) {
  AttendArgs<T> out;
  out.o = data<T>(o);
  out.q = data<const T>(q);
  out.k = data<const T>(k);
  out.v = v.defined() ? data<const T>(v) : out.k;
  out.num_heads = count_of(a.num_heads);
  out.num_kv_heads = count_of(a.num_kv_heads);
  out.qk_dim = count_of(a.qk_dim);
  out.v_dim = count_of(a.v_dim);
  out.k_stride = a.num_kv_heads * a.qk_dim;
  out.v_stride = v.defined() ? a.num_kv_heads * a.v_dim : out.k_stride;
  out.v_head = v.defined() ? a.v_dim : a.qk_dim;
  out.scale = static_cast<typename AttendArgs<T>::Acc>(a.scale);
  out.values_in_keys = !v.defined();
  out.whole_vectors = whole_vectors({&q, &k, v.defined() ? &v : &k}, {a.qk_dim, v.defined() ? a.v_dim : 0});
  return out;
}

}  // namespace

void attention_forward(Tensor o, Tensor lse_TH, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args, bool as_cached,
                       Arena& arena, Stream& stream) {
  constexpr const char* kOp = "attention_forward";
  require_attention(kOp, q, k, v, o, lse_TH, key_begin_T, key_end_T, args);
  const std::initializer_list<Tensor> operands{o, lse_TH, q, k, v, key_begin_T, key_end_T};
  require_countable(kOp, operands);
  const Call call(kOp, stream, operands);
  const std::int64_t tokens = q.shape().flat_rows(), keys = k.shape().flat_rows();
  if (tokens == 0) return;
  dispatch(q.dtype(), kOp, [&](auto type) {
    using T = decltype(type);
    using Acc = typename AttendArgs<T>::Acc;
    const TiledShape tiled = std::same_as<T, bf16> && !as_cached && keys > 0
                                 ? tiled_attend_shape_of({&o, &q, &k, &v}, args, call)
                                 : TiledShape{};
    const TileLaunch launch = tiled.rows > 0 ? TileLaunch{tiled.rows, 0, 1, 0} : attend_launch<T>(args, false, kOp);
    const int blocks = std::min(processors_of(call.device()) * launch.blocks_per_processor,
                                count_of(std::min<std::int64_t>(tokens * args.num_heads, 1 << 20)));
    AttendArgs<T> a = attend_args<T>(o, q, k, v, args);
    Workspace workspace;
    const std::int64_t parked = std::int64_t{blocks} * launch.rows_per_tile * launch.width;
    reserve_lists(workspace, tokens, 0);
    workspace.reserve<Acc>(parked);
    workspace.allocate(arena, call);
    a.tiles = take_lists(workspace, tokens, 0);
    a.parked = workspace.take<Acc>(parked);
    a.lse_TH = data<Acc>(lse_TH);
    a.key_begin_T = data<const std::int32_t>(key_begin_T);
    a.key_end_T = data<const std::int32_t>(key_end_T);
    call.check(launch_find_tiles({a.key_begin_T, a.key_end_T, nullptr, 0, count_of(tokens), launch.rows_per_tile},
                                 a.tiles, call.stream()));
    if constexpr (std::same_as<T, bf16>) {
      if (tiled.rows > 0)
        return call.check(launch_tiled_attend(tiled_attend(a, tiled, tokens, keys), blocks, call.stream()));
    }
    call.check(launch_attend(a, blocks, call.stream()));
  });
}

void attention_backward(Tensor dq, Tensor dk, Tensor dv, const Tensor& d_o, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& o, const Tensor& lse_TH, const Tensor& key_begin_T,
                        const Tensor& key_end_T, const AttentionArgs& args, Arena& arena, Stream& stream) {
  constexpr const char* kOp = "attention_backward";
  require_attention(kOp, q, k, v, o, lse_TH, key_begin_T, key_end_T, args);
  require_attention(kOp, dq, dk, dv, d_o, lse_TH, key_begin_T, key_end_T, args);
  require(dq.dtype() == q.dtype(), kOp, "gradients of the operands' type", dq, q);
  require(dk.shape().flat_rows() == k.shape().flat_rows(), kOp, "as many rows of dk as of k", dk, k);
  const std::initializer_list<Tensor> operands{dq, dk, dv, d_o, q, k, v, o, lse_TH, key_begin_T, key_end_T};
  require_countable(kOp, operands);
  const Call call(kOp, stream, operands);
  const std::int64_t tokens = q.shape().flat_rows(), keys = k.shape().flat_rows();
  if (key_end_T.defined()) {  // some keys may be seen by no query
    call.check(cudaMemsetAsync(dk.unsafe_data(), 0, dk.bytes(), call.stream()));
    call.check(cudaMemsetAsync(dv.unsafe_data(), 0, dv.bytes(), call.stream()));
  }
  if (tokens == 0) return;
  dispatch(q.dtype(), kOp, [&](auto type) {
    using T = decltype(type);
    using Acc = typename AttendBackwardArgs<T>::Acc;
    const TiledShape tiled = std::same_as<T, bf16> && keys > 0
                                 ? tiled_attend_backward_shape_of({&dq, &dk, &dv, &d_o, &q, &k, &v}, args, call)
                                 : TiledShape{};
    const int rows_per_tile = tiled.rows > 0 ? tiled.rows : backward_launch<T>(args, kOp).queries.rows_per_tile;
    AttendBackwardArgs<T> a;
    a.keys_per_tile = tiled.rows > 0 ? tiled.rows : kKeysOfTile;
    Workspace workspace;
    const std::int64_t key_tiles = tokens + keys / a.keys_per_tile + 1;
    reserve_lists(workspace, tokens, key_tiles);
    workspace.reserve<Acc>(tokens * args.num_heads);
    workspace.allocate(arena, call);
    a.tiles = take_lists(workspace, tokens, key_tiles);
    a.delta_TH = workspace.take<Acc>(tokens * args.num_heads);
    a.dq = data<T>(dq);
    a.dk = data<T>(dk);
    a.dv = data<T>(dv);
    a.d_o = data<const T>(d_o);
    a.q = data<const T>(q);
    a.k = data<const T>(k);
    a.v = data<const T>(v);
    a.o = data<const T>(o);
    a.lse_TH = data<const Acc>(lse_TH);
    a.key_begin_T = data<const std::int32_t>(key_begin_T);
    a.key_end_T = data<const std::int32_t>(key_end_T);
    a.num_tokens = count_of(tokens);
    a.num_heads = count_of(args.num_heads);
    a.num_kv_heads = count_of(args.num_kv_heads);
    a.qk_dim = count_of(args.qk_dim);
    a.v_dim = count_of(args.v_dim);
    a.scale = static_cast<Acc>(args.scale);
    a.whole_vectors = whole_vectors({&q, &k, &v, &d_o}, {args.qk_dim, args.v_dim});
    call.check(launch_find_tiles({a.key_begin_T, a.key_end_T, nullptr, 0, a.num_tokens, rows_per_tile, a.keys_per_tile},
                                 a.tiles, call.stream()));
    const int processors = processors_of(call.device());
    if constexpr (std::same_as<T, bf16>) {
      if (tiled.rows > 0)
        return call.check(
            launch_tiled_attend_backward(tiled_attend_backward(a, tiled, tokens, keys), processors, call.stream()));
    }
    call.check(launch_attend_backward(a, processors, call.stream()));
  });
}

void attention_cached(Tensor o, const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& pages_SP,
                      const Tensor& slots_R, const Tensor& lengths_R, std::int64_t page_rows, const AttentionArgs& args,
                      Arena& arena, Stream& stream) {
  constexpr const char* kOp = "attention_cached";
  const std::int64_t rows = q.shape().flat_rows();
  require_attention_cached(kOp, o, q, k_cache, v_cache, pages_SP, slots_R, lengths_R, page_rows, args);
  const std::initializer_list<Tensor> operands{o, q, k_cache, v_cache, pages_SP, slots_R, lengths_R};
  require_countable(kOp, operands);
  const Call call(kOp, stream, operands);
  if (rows == 0) return;
  dispatch(q.dtype(), kOp, [&](auto type) {
    using T = decltype(type);
    using Acc = typename AttendArgs<T>::Acc;
    const TileLaunch launch = attend_launch<T>(args, !v_cache.defined(), kOp);
    const int fitting = processors_of(call.device()) * launch.blocks_per_processor;
    AttendArgs<T> a = attend_args<T>(o, q, k_cache, v_cache, args);
    const int group = a.num_heads / a.num_kv_heads;
    a.heads_per_tile = std::min(group, launch.rows_per_tile);
    const int tokens_per_tile = std::max(1, launch.rows_per_tile / a.heads_per_tile);
    const std::int64_t head_tiles = std::int64_t{a.num_kv_heads} * ((group + a.heads_per_tile - 1) / a.heads_per_tile);
    // Rows that may each be a tile of their own fill the device without cutting them along their keys; the order of
    // sums is the same either way.
    const std::int64_t splits = (pages_SP.dim(1) * page_rows + kKeysPerSplit - 1) / kKeysPerSplit;
    const std::int64_t tiles = (rows + tokens_per_tile - 1) / tokens_per_tile * head_tiles;
    a.parallel_splits = splits > 1 && tiles < std::int64_t{2} * fitting ? count_of(splits) : 0;
    const std::int64_t units = rows * head_tiles * std::max(1, a.parallel_splits);
    const int blocks = count_of(std::min<std::int64_t>(fitting, units));

    Workspace workspace;
    const std::int64_t parked = std::int64_t{blocks} * launch.rows_per_tile * launch.width;
    const std::int64_t partial = rows * args.num_heads * a.parallel_splits * (args.v_dim + 2);
    reserve_lists(workspace, rows, 0);
    workspace.reserve<Acc>(parked);
    workspace.reserve<Acc>(partial);
    workspace.allocate(arena, call);
    a.tiles = take_lists(workspace, rows, 0);
    a.parked = workspace.take<Acc>(parked);
    a.partial = workspace.take<Acc>(partial);
    a.lengths_R = data<const std::int32_t>(lengths_R);
    a.pages_SP = data<const std::int32_t>(pages_SP);
    a.page_bits = std::countr_zero(static_cast<std::uint64_t>(page_rows));
    call.check(launch_find_tiles({nullptr, nullptr, data<const std::int32_t>(slots_R), count_of(pages_SP.dim(1)),
                                  count_of(rows), tokens_per_tile},
                                 a.tiles, call.stream()));
    call.check(launch_attend(a, blocks, call.stream()));
    if (a.parallel_splits > 0) call.check(launch_merge_splits(a, count_of(rows), call.stream()));
  });
}

}  // namespace athanor::cuda
