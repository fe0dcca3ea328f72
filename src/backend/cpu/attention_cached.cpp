// Attention against a key/value cache (decode and prefill), and the per-head products of absorbed MLA.
// Legend: R query rows, H query heads, G key/value heads, Q width of a query/key head, V width of a value head.
#include <omp.h>

#include <algorithm>
#include <vector>

#include "src/backend/cpu/attention_decode.hpp"
#include "src/backend/cpu/attention_ops.hpp"
#include "src/backend/cpu/attention_tile.hpp"
#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/matrix_product.hpp"
#include "src/backend/cpu/row_ids.hpp"

namespace athanor {

using cpu::data;
using namespace cpu::attention;

namespace {

/// Query rows [first, first + count) of one slot.
struct QueryRun {
  std::int64_t first, count, slot;
};

/// Neighbouring rows of one slot, at most `most` to a run.
void find_runs(const std::int32_t* slots, std::int64_t rows, std::int64_t most, std::vector<QueryRun>& runs) {
  runs.clear();
  for (std::int64_t r = 0; r < rows; ++r) {
    if (r > 0 && slots[r] == slots[r - 1] && runs.back().count < most)
      ++runs.back().count;
    else
      runs.push_back({r, 1, slots[r]});
  }
}

/// What is read of a cache in pages: S slots, P pages a slot, N pages of L rows.
struct PageTable {
  const std::int32_t* pages;
  std::int64_t slots, pages_per_slot, num_pages, page_rows;

  const std::int32_t* of_slot(std::int64_t slot) const { return pages + slot * pages_per_slot; }
  /// @throws Error for a length or a page of these runs that does not exist.
  void check(const std::vector<QueryRun>& runs, const std::int32_t* lengths) const {
    for (const QueryRun& run : runs) {
      cpu::require_ids("attention_cached: lengths", lengths + run.first, run.count, pages_per_slot * page_rows + 1);
      const std::int64_t longest = *std::max_element(lengths + run.first, lengths + run.first + run.count);
      cpu::require_ids("attention_cached: pages", of_slot(run.slot), (longest + page_rows - 1) / page_rows, num_pages);
    }
  }
};

template <class P>
struct CachedOperands {
  typename P::Element* o;
  const typename P::Element* q;
  const std::int32_t* lengths;
  AttentionArgs args;
  PageTable table;
  KeyRun<P> keys;           ///< of head 0 and cache row 0
  std::int64_t v_head = 0;  ///< elements between the values of two heads

  KeyRun<P> keys_of(const QueryRun& run, std::int64_t g) const {
    KeyRun<P> moved = keys;
    moved.k += g * keys.qk_dim;
    moved.v += g * v_head;
    moved.pages = table.of_slot(run.slot);
    moved.page_rows = table.page_rows;
    return moved;
  }
};

/// Query heads [h, h + heads) of key/value head g, for the rows of a run: queries along lanes.
template <class P>
void cached_tile(const CachedOperands<P>& t, const QueryRun& run, std::int64_t g, std::int64_t h, std::int64_t heads) {
  const AttentionArgs& a = t.args;
  const auto row = [&](std::int64_t lane) { return (run.first + lane / heads) * a.num_heads + h + lane % heads; };
  const std::int64_t lanes = run.count * heads;
  ForwardTile<P> work;
  carve_scratch([&](Carver& carver) { work.carve(carver, a.qk_dim, a.v_dim); });
  Visibility<P> visible;
  for (std::int64_t lane = 0; lane < lanes; ++lane) {
    visible.lo[lane] = 0;
    visible.hi[lane] = t.lengths[run.first + lane / heads];
  }
  visible.finish(static_cast<int>(lanes));
  pack_lanes<P>(work.q_t, kQueries<P>, lanes, a.qk_dim, [&](std::int64_t lane) { return t.q + row(lane) * a.qk_dim; });
  work.run(t.keys_of(run, g), visible, a.scale);
  work.finish(lanes, a.v_dim, [&](std::int64_t lane) { return t.o + row(lane) * a.v_dim; });
}

/// All query heads of key/value heads [g, g + kv_heads), for the rows of a run.
template <class P>
void cached_heads(const CachedOperands<P>& t, const QueryRun& run, std::int64_t g, std::int64_t kv_heads) {
  const AttentionArgs& a = t.args;
  const std::int64_t group = a.num_heads / a.num_kv_heads;
  if (run.count == 1 && group <= DecodeTile<P>::kMaxQueries) {
    const KeyRun<P> keys = t.keys_of(run, g);
    DecodeTile<P> work(keys, kv_heads, group, t.v_head);
    carve_scratch([&](Carver& carver) { work.carve(carver); });
    const std::int64_t row = run.first * a.num_heads + g * group;
    work.run(t.o + row * a.v_dim, t.q + row * a.qk_dim, t.lengths[run.first], a.scale);
    return;
  }
  for (std::int64_t i = g; i < g + kv_heads; ++i)
    for (std::int64_t h = 0; h < group; h += kQueries<P>)
      cached_tile(t, run, i, i * group + h, std::min<std::int64_t>(kQueries<P>, group - h));
}

}  // namespace

void CpuBackend::attention_cached(Tensor o, const Tensor& q, const Tensor& k_cache, const Tensor& v_cache,
                                  const Tensor& pages_SP, const Tensor& slots_R, const Tensor& lengths_R,
                                  std::int64_t page_rows, const AttentionArgs& args, Stream& stream) {
  constexpr std::string_view kOp = "attention_cached";
  const std::int64_t rows = q.shape().flat_rows();
  require_attention_cached(kOp, o, q, k_cache, v_cache, pages_SP, slots_R, lengths_R, page_rows, args);
  dispatch_units(q.dtype(), args, kOp, [&](auto arithmetic) {
    using P = decltype(arithmetic);
    using T = typename P::Element;
    run_on(stream, [=, a = args] {
      const std::int64_t group = a.num_heads / a.num_kv_heads;
      const auto* slots = data<std::int32_t>(slots_R);
      CachedOperands<P> operands{data<T>(o),
                                 data<T>(q),
                                 data<std::int32_t>(lengths_R),
                                 a,
                                 {data<std::int32_t>(pages_SP), pages_SP.dim(0), pages_SP.dim(1),
                                  k_cache.shape().flat_rows() / page_rows, page_rows},
                                 {data<T>(k_cache), a.num_kv_heads * a.qk_dim, nullptr, 0, a.qk_dim, a.v_dim}};
      operands.keys.v = v_cache.defined() ? data<T>(v_cache) : operands.keys.k;
      operands.keys.v_stride = v_cache.defined() ? a.num_kv_heads * a.v_dim : operands.keys.k_stride;
      operands.v_head = v_cache.defined() ? a.v_dim : a.qk_dim;
      cpu::require_ids("attention_cached: slots", slots, rows, operands.table.slots);
      thread_local std::vector<QueryRun> runs_of_thread;
      find_runs(slots, rows, std::max<std::int64_t>(1, kQueries<P> / group), runs_of_thread);
      operands.table.check(runs_of_thread, operands.lengths);
      const auto& runs = runs_of_thread;  // the team reads this thread's list
      // Heads of a row go to one thread, which then reads the cache in order, unless threads would stay idle.
      const auto num_runs = static_cast<std::int64_t>(runs.size()), wanted = std::int64_t{2} * omp_get_max_threads();
      const std::int64_t span = std::clamp<std::int64_t>(a.num_kv_heads * num_runs / wanted, 1, a.num_kv_heads);
      const std::int64_t spans = (a.num_kv_heads + span - 1) / span;
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t unit = 0; unit < num_runs * spans; ++unit) {
        const std::int64_t g = unit % spans * span;
        cached_heads(operands, runs[static_cast<std::size_t>(unit / spans)], g, std::min(span, a.num_kv_heads - g));
      }
    });
  });
}

void CpuBackend::per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                               std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream) {
  constexpr std::string_view kOp = "per_head_gemm";
  const std::int64_t rows = x.shape().flat_rows(), columns = w.shape().back();
  const auto [in, out] = per_head_product(kOp, y, x, w, num_heads, stride, first, count, transpose);
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
