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

  /// For `kv_heads` neighbouring key/value heads, each with `group` queries (at most kMaxQueries).
  DecodeTile(const KeyRun<P>& keys, std::int64_t kv_heads, std::int64_t group, std::int64_t v_head)
      : keys_(keys), kv_heads_(kv_heads), group_(group), v_head_(v_head) {}

  void carve(Carver& carver) {
    const std::int64_t queries = kv_heads_ * group_;
    carver.take(q_, queries * depth_);
    carver.take(o_, queries * columns_);
    carver.take(top_, queries);
    carver.take(sum_, queries);
    carver.take(k_t_, depth_ * kKeys);
    carver.take(s_, group_ * kKeys);
    carver.take(p_, group_ * kKeys / P::kPair);
    staging_.carve(carver, keys_.qk_dim, columns_);
  }

  /// o[i] = attention of q[i] over keys [0, length), all queries and outputs lying one after the other. Tiles of keys
  /// are the outer loop: rows of a cache hold all heads, and memory is read in order.
  void run(Element* o, const Element* q, std::int64_t length, double scale) {
    const std::int64_t queries = kv_heads_ * group_, qk_dim = keys_.qk_dim, v_dim = keys_.v_dim;
    for (std::int64_t i = 0; i < queries; ++i)
      for (std::int64_t u = 0; u < depth_; ++u) {
        const Element* from = q + i * qk_dim + u * P::kPair;
        q_[i * depth_ + u] = make_unit<P>(from[0], from[P::kPair - 1]);
      }
    std::fill_n(o_, queries * columns_, Acc{});
    std::fill_n(top_, queries, kNoScore<P>);
    std::fill_n(sum_, queries, Acc{});
    TileParts parts(keys_, 0, keys_of_tile(length, 0));
    for (std::int64_t first = 0; first < length; first += kKeys) {
      const std::int64_t next_first = first + kKeys;
      const TileParts next(keys_, next_first, keys_of_tile(length, next_first));
      for (std::int64_t g = 0; g < kv_heads_; ++g) {
        for (const auto& part : next) prefetch_share(g, part);
        head_tile(g, parts, keys_of_tile(length, first), exponent_scale<P>(scale));
      }
      parts = next;
    }
    for (std::int64_t i = 0; i < queries; ++i) {
      const Acc factor = sum_[i] == Acc{} ? Acc{} : Acc{1} / sum_[i];  // no keys: zeros
      for (std::int64_t d = 0; d < v_dim; ++d) o[i * v_dim + d] = store<Element>(o_[i * columns_ + d] * factor);
    }
  }

 private:
  static int keys_of_tile(std::int64_t length, std::int64_t first) {
    return static_cast<int>(std::clamp<std::int64_t>(length - first, 0, kKeys));
  }

  void head_tile(std::int64_t g, const TileParts& parts, int rows, Acc c) {
    KeyRun<P> keys = keys_;
    keys.k += g * keys.qk_dim;
    keys.v += g * v_head_;
    const Element* k_rows[kKeys];
    for (const auto& part : parts)
      for (int j = 0; j < part.keys; ++j) k_rows[part.key + j] = keys.k + (part.row + j) * keys.k_stride;
    const int lanes = (rows + kLanes<P> - 1) / kLanes<P> * kLanes<P>;  // of a tile that is part full
    pack_lanes<P>(k_t_, lanes, rows, keys.qk_dim, [&](std::int64_t j) { return k_rows[j]; });
    product<P, false>(group_, lanes / kLanes<P>, depth_, q_ + g * group_ * depth_, depth_, k_t_, lanes, s_, kKeys,
                      false);
    for (std::int64_t i = 0; i < group_; ++i) softmax(i, g * group_ + i, rows, c);
    for (const auto& part : parts) {
      const StagedRows<P> v = staging_.values(keys, part.row, part.keys, columns_);
      product<P, false>(group_, columns_ / kLanes<P>, units<P>(part.keys), p_ + part.key / P::kPair, kKeys / P::kPair,
                        v.rows, v.stride, o_ + g * group_ * columns_, columns_, true);
    }
  }

  /// Asks for head g's share of a part of the next tile's rows, in the order they lie in memory.
  void prefetch_share(std::int64_t g, const TileParts::Part& part) const {
    constexpr auto kLine = 64 / static_cast<std::int64_t>(sizeof(Element));
    for (std::int64_t j = part.keys * g / kv_heads_; j < part.keys * (g + 1) / kv_heads_; ++j) {
      const Element* k = keys_.k + (part.row + j) * keys_.k_stride;
      for (std::int64_t d = 0; d < kv_heads_ * keys_.qk_dim; d += kLine) __builtin_prefetch(k + d, 0, 2);
      if (keys_.v == keys_.k) continue;
      const Element* v = keys_.v + (part.row + j) * keys_.v_stride;
      for (std::int64_t d = 0; d < kv_heads_ * v_head_; d += kLine) __builtin_prefetch(v + d, 0, 2);
    }
  }

  /// Scores s_[row] of query i to probabilities p_[row].
  void softmax(std::int64_t row, std::int64_t i, int rows, Acc c) {
    Acc* s = s_ + row * kKeys;
    const Acc old_top = top_[i];
    Acc new_top = old_top;
    for (int j = 0; j < rows; ++j) new_top = s[j] > new_top ? s[j] : new_top;
    const int lanes = (rows + kLanes<P> - 1) / kLanes<P> * kLanes<P>;
    std::fill(s + rows, s + lanes, -std::numeric_limits<Acc>::infinity());
    for (int j = 0; j < lanes; j += kLanes<P>) {
      const V p = exp2_nonpositive((load_as<V>(s + j) - (V{} + new_top)) * c);
      store_as(s + j, p);
      store_lanes<P>(p_ + (row * kKeys + j) / P::kPair, p);
    }
    Acc tile_sum{};
    for (int j = 0; j < rows; ++j) tile_sum += s[j];
    const V factor = exp2_nonpositive((V{} + old_top - (V{} + new_top)) * c);
    top_[i] = new_top;
    sum_[i] = sum_[i] * factor[0] + tile_sum;
    if (factor[0] == Acc{1}) return;
    for (std::int64_t d = 0; d < columns_; d += kLanes<P>)
      store_as(o_ + i * columns_ + d, load_as<V>(o_ + i * columns_ + d) * factor);
  }

  const KeyRun<P>& keys_;  ///< of the first head
  const std::int64_t kv_heads_, group_, v_head_;
  const std::int64_t depth_ = units<P>(keys_.qk_dim), columns_ = padded<P>(keys_.v_dim);

  Unit* q_ = nullptr;                    ///< [queries, units of Q]
  Acc* o_ = nullptr;                     ///< [queries, V padded]
  Acc *top_ = nullptr, *sum_ = nullptr;  ///< [queries]
  Unit* k_t_ = nullptr;                  ///< [units of Q, kKeys]
  Acc* s_ = nullptr;                     ///< [group, kKeys]
  Unit* p_ = nullptr;                    ///< [group, units of kKeys]
  Staging<P> staging_;
};

}  // namespace athanor::cpu::attention
