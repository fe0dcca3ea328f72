// Causal attention for training: o = softmax(scale * q k^T) v, documents kept apart by key_begin_T; lse_TH is kept for
// the backward. One (head, tile of queries) is one piece of work; the arithmetic and its order are in
// attention_tile.hpp. Legend: T tokens (queries), H query heads, G key/value heads, Q width of a query/key head, V
// width of a value head.
#include <cmath>

#include "src/backend/cpu/attention_ops.hpp"
#include "src/backend/cpu/attention_tile.hpp"
#include "src/backend/cpu/cpu_backend.hpp"

namespace athanor {
namespace cpu::attention {

namespace {

/// A tile of queries of one stretch: rows [begin, end), keys counted from row `origin`.
struct QueryTile {
  std::int64_t origin, begin, end;
};

template <class P>
void forward_tile(const QueryTile& tile, std::int64_t h, const AttentionArgs& a, const typename P::Element* q,
                  const typename P::Element* k, const typename P::Element* v, const std::int32_t* key_begin_T,
                  const std::int32_t* key_end_T, typename P::Element* o, typename P::Acc* lse_TH) {
  using Acc = typename P::Acc;
  const std::int64_t g = h / (a.num_heads / a.num_kv_heads), tokens = tile.end - tile.begin;
  ForwardTile<P> work;
  carve_scratch([&](Carver& carver) { work.carve(carver, a.qk_dim, a.v_dim); });

  Visibility<P> visible;
  for (std::int64_t i = 0; i < tokens; ++i) {
    using Int = typename Visibility<P>::Int;
    visible.lo[i] = static_cast<Int>(key_begin_T[tile.begin + i] - tile.origin);
    visible.hi[i] = static_cast<Int>((key_end_T ? key_end_T[tile.begin + i] : tile.begin + i + 1) - tile.origin);
  }
  visible.finish(static_cast<int>(tokens));
  pack_lanes<P>(work.q_t, kQueries<P>, tokens, a.qk_dim,
                [&](std::int64_t i) { return q + ((tile.begin + i) * a.num_heads + h) * a.qk_dim; });
  const KeyRun<P> keys{k + (tile.origin * a.num_kv_heads + g) * a.qk_dim,
                       a.num_kv_heads * a.qk_dim,
                       v + (tile.origin * a.num_kv_heads + g) * a.v_dim,
                       a.num_kv_heads * a.v_dim,
                       a.qk_dim,
                       a.v_dim};

  work.run(keys, visible, a.scale);

  work.finish(tokens, a.v_dim, [&](std::int64_t i) { return o + ((tile.begin + i) * a.num_heads + h) * a.v_dim; });
  for (std::int64_t i = 0; i < tokens; ++i)
    lse_TH[(tile.begin + i) * a.num_heads + h] = work.top[i] * static_cast<Acc>(a.scale) + std::log(work.sum[i]);
}

}  // namespace
}  // namespace cpu::attention

void CpuBackend::attention_forward(Tensor o, Tensor lse_TH, const Tensor& q, const Tensor& k, const Tensor& v,
                                   const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args,
                                   Stream& stream) {
  using namespace cpu::attention;
  using cpu::data;
  require_attention("attention_forward", q, k, v, o, lse_TH, key_begin_T, key_end_T, args);
  dispatch_units(q.dtype(), args, "attention_forward", [&](auto arithmetic) {
    using P = decltype(arithmetic);
    using T = typename P::Element;
    run_on(stream, [=, a = args] {
      const auto* key_begin = data<std::int32_t>(key_begin_T);
      const auto* key_end = key_end_T.defined() ? data<std::int32_t>(key_end_T) : nullptr;
      thread_local std::vector<Stretch> stretches;
      thread_local std::vector<QueryTile> tiles_of_thread;
      find_stretches(key_begin, key_end, q.shape().flat_rows(), stretches);
      tiles_of_thread.clear();
      for (const Stretch& stretch : stretches)
        for (std::int64_t begin = stretch.query_begin; begin < stretch.query_end; begin += kQueries<P>)
          tiles_of_thread.push_back({stretch.key_begin, begin, std::min(begin + kQueries<P>, stretch.query_end)});
      const auto& tiles = tiles_of_thread;  // the team reads this thread's list
      const auto num_tiles = static_cast<std::int64_t>(tiles.size());
      // Long tiles (late queries) first, so that threads end together.
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t unit = num_tiles * a.num_heads - 1; unit >= 0; --unit)
        forward_tile<P>(tiles[static_cast<std::size_t>(unit % num_tiles)], unit / num_tiles, a, data<T>(q), data<T>(k),
                        data<T>(v), key_begin, key_end, data<T>(o), data<typename P::Acc>(lse_TH));
    });
  });
}

}  // namespace athanor
