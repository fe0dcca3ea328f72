// A few queries of one sequence against its cache. Keys lie along vector lanes here (attention_tile.hpp puts queries
// there), so that one query alone uses whole vectors and the cache is read at the speed of memory.
// Law: per query the same sums in the same order as ForwardTile, so a decoded row has the bits of a prefilled one.
#pragma once

#include "src/backend/cpu/attention_tile.hpp"

namespace athanor::cpu::attention {

template <class P>
class DecodeTile {
 public:
  using Acc = typename P::Acc;
  using Element = typename P::Element;
  using Unit = typename P::Unit;
  using V = typename Simd<Acc>::V;
  static constexpr int kMaxQueries = 8;  ///< above, broadcasting keys to lanes of queries costs less than turning them

  void carve(Carver& carver, std::int64_t qk_dim, std::int64_t v_dim) {
    carver.take(q_, kMaxQueries * units<P>(qk_dim));
    carver.take(k_t_, units<P>(qk_dim) * kKeys);
    carver.take(s_, kMaxQueries * kKeys);
    carver.take(p_, kMaxQueries * kKeys / P::kPair);
    carver.take(o_, kMaxQueries * padded<P>(v_dim));
    staging_.carve(carver, qk_dim, padded<P>(v_dim));
  }

  /// o[i] = attention of q[i] over keys [0, length), for `count` queries and outputs lying one after the other.
  void run(Element* o, const Element* q, int count, const KeyRun<P>& keys, std::int64_t length, double scale) {
    const std::int64_t depth = units<P>(keys.qk_dim), columns = padded<P>(keys.v_dim);
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t u = 0; u < depth; ++u) {
        const Element* from = q + i * keys.qk_dim + u * P::kPair;
        q_[i * depth + u] = make_unit<P>(from[0], from[P::kPair - 1]);
      }
    std::fill_n(o_, count * columns, Acc{});
    std::fill_n(top_, count, kNoScore<P>);
    std::fill_n(sum_, count, Acc{});
    for (std::int64_t first = 0; first < length; first += kKeys) {
      const int rows = static_cast<int>(std::min<std::int64_t>(kKeys, length - first));
      const Element* k_rows = keys.k + first * keys.k_stride;
      pack_lanes<P>(k_t_, kKeys, rows, keys.qk_dim, [&](std::int64_t j) { return k_rows + j * keys.k_stride; });
      product<P, false>(count, kKeys / kLanes<P>, depth, q_, depth, k_t_, kKeys, s_, kKeys, false);
      for (int i = 0; i < count; ++i) softmax(i, rows, exponent_scale<P>(scale), columns);
      const StagedRows<P> v = staging_.values(keys, first, rows, columns);
      product<P, false>(count, columns / kLanes<P>, units<P>(rows), p_, kKeys / P::kPair, v.rows, v.stride, o_, columns,
                        true);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const Acc factor = sum_[i] == Acc{} ? Acc{} : Acc{1} / sum_[i];  // no keys: zeros
      for (std::int64_t d = 0; d < keys.v_dim; ++d)
        o[i * keys.v_dim + d] = store<Element>(o_[i * columns + d] * factor);
    }
  }

 private:
  void softmax(int i, int rows, Acc c, std::int64_t columns) {
    Acc* s = s_ + i * kKeys;
    const Acc old_top = top_[i];
    Acc new_top = old_top;
    for (int j = 0; j < rows; ++j) new_top = s[j] > new_top ? s[j] : new_top;
    std::fill(s + rows, s + kKeys, -std::numeric_limits<Acc>::infinity());
    for (int j = 0; j < kKeys; j += kLanes<P>) {
      const V p = exp2_nonpositive((load_as<V>(s + j) - (V{} + new_top)) * c);
      store_as(s + j, p);
      store_lanes<P>(p_ + (i * kKeys + j) / P::kPair, p);
    }
    Acc tile_sum{};
    for (int j = 0; j < rows; ++j) tile_sum += s[j];
    const V factor = exp2_nonpositive((V{} + old_top - (V{} + new_top)) * c);
    top_[i] = new_top;
    sum_[i] = sum_[i] * factor[0] + tile_sum;
    if (factor[0] == Acc{1}) return;
    for (std::int64_t d = 0; d < columns; d += kLanes<P>)
      store_as(o_ + i * columns + d, load_as<V>(o_ + i * columns + d) * factor);
  }

  Unit* q_ = nullptr;    ///< [queries, units of Q]
  Unit* k_t_ = nullptr;  ///< [units of Q, kKeys]
  Acc* s_ = nullptr;     ///< [queries, kKeys]
  Unit* p_ = nullptr;    ///< [queries, units of kKeys]
  Acc* o_ = nullptr;     ///< [queries, V padded]
  Acc top_[kMaxQueries], sum_[kMaxQueries];
  Staging<P> staging_;
};

}  // namespace athanor::cpu::attention
