// One tile of queries against a run of keys: softmax(scale * q k^T) v without the score matrix (online softmax).
// Source: Dao, FlashAttention-2 (arXiv 2307.08691), algorithm 1; here queries lie along vector lanes and scores are
// kept as S^T[key, query], so that keys and values are read where they stand, maxima and sums need no shuffles, and one
// key serves all queries by broadcast. Law: keys are cut into tiles of kKeys from key 0; a key that no lane of a vector
// sees costs nothing and changes no bit.
#pragma once

#include <algorithm>

#include "src/backend/cpu/attention_units.hpp"

namespace athanor::cpu::attention {

inline constexpr int kKeys = 64;  ///< keys of a tile

/// Keys and values of one head: row j at k + j*k_stride and v + j*v_stride (elements). Key j is row j, or that of a
/// cache in pages of page_rows rows.
template <class P>
struct KeyRun {
  const typename P::Element* k;
  std::int64_t k_stride;
  const typename P::Element* v;
  std::int64_t v_stride;
  std::int64_t qk_dim, v_dim;
  const std::int32_t* pages = nullptr;
  std::int64_t page_rows = 0;
};

/// Where keys [first_key, first_key + keys) of a tile lie: parts of rows that follow each other, in the order of keys.
/// A part begins an even number of keys into the tile.
class TileParts {
 public:
  struct Part {
    std::int64_t row;
    int key, keys;  ///< within the tile
  };
  template <class P>
  TileParts(const KeyRun<P>& run, std::int64_t first_key, int keys) {
    if (!run.pages) {
      parts_[count_++] = {first_key, 0, keys};
      return;
    }
    for (int key = 0; key < keys;) {
      const std::int64_t at = first_key + key, in_page = at % run.page_rows;
      const int together = static_cast<int>(std::min<std::int64_t>(keys - key, run.page_rows - in_page));
      const std::int64_t row = run.pages[at / run.page_rows] * run.page_rows + in_page;
      if (count_ > 0 && parts_[count_ - 1].row + parts_[count_ - 1].keys == row)
        parts_[count_ - 1].keys += together;
      else
        parts_[count_++] = {row, key, together};
      key += together;
    }
  }
  const Part* begin() const { return parts_; }
  const Part* end() const { return parts_ + count_; }

 private:
  Part parts_[kKeys / 16];  // whole_page
  int count_ = 0;
};

/// Queries of a tile: kQueryVectors vectors of lanes.
inline constexpr int kQueryVectors = 2;
template <class P>
inline constexpr int kQueries = kQueryVectors* kLanes<P>;

/// Which keys each lane sees: [lo, hi). Lanes past the last query repeat it, so that a full tile stays full.
template <class P>
struct Visibility {
  using Int = typename Simd<typename P::Acc>::Int;
  alignas(64) Int lo[kQueries<P>], hi[kQueries<P>];
  Int vector_min_lo[kQueryVectors], vector_max_hi[kQueryVectors];
  Int min_lo, max_lo, min_hi, max_hi;
  int vectors;  ///< that hold a query

  /// Call when lanes [0, count) are set.
  void finish(int count) {
    vectors = (count + kLanes<P> - 1) / kLanes<P>;
    for (int lane = count; lane < kQueries<P>; ++lane) lo[lane] = lo[count - 1], hi[lane] = hi[count - 1];
    min_lo = *std::min_element(lo, lo + kQueries<P>);
    max_lo = *std::max_element(lo, lo + kQueries<P>);
    min_hi = *std::min_element(hi, hi + kQueries<P>);
    max_hi = *std::max_element(hi, hi + kQueries<P>);
    for (int n = 0; n < vectors; ++n) {
      vector_min_lo[n] = *std::min_element(lo + n * kLanes<P>, lo + (n + 1) * kLanes<P>);
      vector_max_hi[n] = *std::max_element(hi + n * kLanes<P>, hi + (n + 1) * kLanes<P>);
    }
  }
  /// All ones in the lanes of vector n that see `key`.
  ATHANOR_INLINE typename Simd<typename P::Acc>::I sees(int n, std::int64_t key) const {
    using I = typename Simd<typename P::Acc>::I;
    const I at = I{} + static_cast<Int>(key);
    return (at >= load_as<I>(lo + n * kLanes<P>)) & (at < load_as<I>(hi + n * kLanes<P>));
  }
};

/// Which parts of a tile of keys are computed: pieces of keys times a range of query vectors.
template <class P>
struct TilePlan {
  struct Piece {
    int key, keys;                 ///< within the tile
    int vector_begin, vector_end;  ///< query vectors that see some of these keys
  };
  Piece pieces[kKeys / kLanes<P>];
  int count = 0;
  bool masked = false;  ///< some computed score is invisible

  TilePlan(const Visibility<P>& visible, std::int64_t first_key, int keys) {
    if (visible.max_lo <= first_key && visible.min_hi >= first_key + keys) {
      pieces[count++] = {0, keys, 0, visible.vectors};
      return;
    }
    masked = true;
    for (int key = 0; key < keys; key += kLanes<P>) {
      Piece piece{key, std::min(kLanes<P>, keys - key), kQueryVectors, 0};
      for (int n = 0; n < visible.vectors; ++n)
        if (visible.vector_max_hi[n] > first_key + key && visible.vector_min_lo[n] < first_key + key + piece.keys) {
          piece.vector_begin = std::min(piece.vector_begin, n);
          piece.vector_end = n + 1;
        }
      if (piece.vector_begin < piece.vector_end) pieces[count++] = piece;
    }
  }
  /// f(key, keys, vector_begin, vector_end) for what pieces have of a part.
  template <class F>
  void within(const TileParts::Part& part, const F& f) const {
    for (int i = 0; i < count; ++i) {
      const int begin = std::max(pieces[i].key, part.key);
      const int end = std::min(pieces[i].key + pieces[i].keys, part.key + part.keys);
      if (begin < end) f(begin, end - begin, pieces[i].vector_begin, pieces[i].vector_end);
    }
  }
};

/// Rows of a tile of keys or values as units, and how many units lie between rows.
template <class P>
struct StagedRows {
  const typename P::Unit* rows;
  std::int64_t stride;
};

/// Gives rows [row, row + count) of K as units along the head and of V as units along keys: in place where the tensor's
/// rows are that already, else packed into scratch.
template <class P>
class Staging {
 public:
  void carve(Carver& carver, std::int64_t qk_dim, std::int64_t v_columns) {
    if (!P::kInPlace) carver.take(k_, kKeys * units<P>(qk_dim));
    carver.take(v_, kKeys / P::kPair * v_columns);
  }
  StagedRows<P> keys(const KeyRun<P>& run, std::int64_t row, int count) {
    const auto* from = run.k + row * run.k_stride;
    if constexpr (P::kInPlace) return {P::in_place(from), run.k_stride / P::kPair};
    pack_rows<P>(k_, run.qk_dim, from, run.k_stride, count, run.qk_dim);
    return {k_, run.qk_dim};
  }
  /// Rows of v_columns units (zeros past v_dim).
  StagedRows<P> values(const KeyRun<P>& run, std::int64_t row, int count, std::int64_t v_columns) {
    const auto* from = run.v + row * run.v_stride;
    if constexpr (P::kInPlace && P::kPair == 1)
      if (v_columns == run.v_dim) return {P::in_place(from), run.v_stride};
    pack_rows<P>(v_, v_columns, from, run.v_stride, count, run.v_dim);
    return {v_, v_columns};
  }

 private:
  typename P::Unit *k_ = nullptr, *v_ = nullptr;
};

/// Scores to probabilities: exp(scale * (score - reference)), by powers of two.
template <class P>
typename P::Acc exponent_scale(double scale) {
  return static_cast<typename P::Acc>(scale * 1.4426950408889634074);
}
/// Below every score; finite, so that differences are never NaN.
template <class P>
inline constexpr typename P::Acc kNoScore = static_cast<typename P::Acc>(-1e30);

template <class P>
class ForwardTile {
 public:
  using Acc = typename P::Acc;
  using Unit = typename P::Unit;
  using V = typename Simd<Acc>::V;

  Unit* q_t = nullptr;  ///< [units of Q, kQueries], by pack_lanes
  Acc* o_t = nullptr;   ///< [V, kQueries]: sum of p*v, not yet divided
  Acc* top = nullptr;   ///< [kQueries] largest score (before scale)
  Acc* sum = nullptr;   ///< [kQueries] sum of exp(scale * (score - top))

  void carve(Carver& carver, std::int64_t qk_dim, std::int64_t v_dim) {
    carver.take(q_t, units<P>(qk_dim) * kQueries<P>);
    carver.take(o_t, v_dim * kQueries<P>);
    carver.take(top, kQueries<P>);
    carver.take(sum, kQueries<P>);
    carver.take(factor_, kQueries<P>);
    carver.take(s_t_, kKeys * kQueries<P>);
    staging_.carve(carver, qk_dim, v_dim);
  }

  /// Fills o_t, top, sum; finish() writes the rows.
  void run(const KeyRun<P>& keys, const Visibility<P>& visible, double scale) {
    std::fill_n(o_t, keys.v_dim * kQueries<P>, Acc{});
    std::fill_n(top, kQueries<P>, kNoScore<P>);
    std::fill_n(sum, kQueries<P>, Acc{});
    for (std::int64_t first = visible.min_lo / kKeys * kKeys; first < visible.max_hi; first += kKeys) {
      const int count = static_cast<int>(std::min<std::int64_t>(kKeys, visible.max_hi - first));
      const TilePlan<P> plan(visible, first, count);
      const TileParts parts(keys, first, count);
      for (const auto& part : parts) {
        const StagedRows<P> k = staging_.keys(keys, part.row, part.keys);
        plan.within(part, [&](int key, int rows, int begin, int end) {
          product<P, false>(rows, end - begin, units<P>(keys.qk_dim), k.rows + (key - part.key) * k.stride, k.stride,
                            q_t + begin * kLanes<P>, kQueries<P>, s_t_ + key * kQueries<P> + begin * kLanes<P>,
                            kQueries<P>, false);
        });
      }
      softmax(plan, visible, first, exponent_scale<P>(scale), keys.v_dim);
      for (const auto& part : parts) {
        const StagedRows<P> v = staging_.values(keys, part.row, part.keys, keys.v_dim);
        plan.within(part, [&](int key, int rows, int begin, int end) {
          product<P, true>(keys.v_dim, end - begin, units<P>(rows), v.rows + (key - part.key) / P::kPair * v.stride,
                           v.stride, p_t() + key / P::kPair * kQueries<P> + begin * kLanes<P>, kQueries<P>,
                           o_t + begin * kLanes<P>, kQueries<P>, true);
        });
      }
    }
  }

  /// row(lane)[d] = o_t / sum for the first `count` lanes.
  template <class Row>
  void finish(std::int64_t count, std::int64_t v_dim, const Row& row) {
    // A query without keys gives zeros.
    for (int i = 0; i < kQueries<P>; ++i) factor_[i] = sum[i] == Acc{} ? Acc{} : Acc{1} / sum[i];
    unpack_lanes<P>(o_t, kQueries<P>, factor_, count, v_dim, row);
  }

 private:
  /// Probabilities take the place of scores: row j of units is written when rows j*kPair.. have been read.
  Unit* p_t() { return reinterpret_cast<Unit*>(s_t_); }

  void softmax(const TilePlan<P>& plan, const Visibility<P>& visible, std::int64_t first_key, Acc c,
               std::int64_t v_dim) {
    for (int n = 0; n < visible.vectors; ++n) {
      const int lane = n * kLanes<P>;
      const V old_top = load_as<V>(top + lane);
      V new_top = old_top;
      for (int i = 0; i < plan.count; ++i) {
        const auto& [key, rows, begin, end] = plan.pieces[i];
        if (n < begin || n >= end) continue;
        Acc* s = s_t_ + key * kQueries<P> + lane;
        for (int j = 0; j < rows; ++j) {
          V score = load_as<V>(s + j * kQueries<P>);
          if (plan.masked) {
            score = visible.sees(n, first_key + key + j) ? score : V{} - std::numeric_limits<Acc>::infinity();
            store_as(s + j * kQueries<P>, score);
          }
          new_top = score > new_top ? score : new_top;
        }
      }
      V tile_sum{};
      for (int i = 0; i < plan.count; ++i) {
        const auto& [key, rows, begin, end] = plan.pieces[i];
        if (n < begin || n >= end) continue;
        const Acc* s = s_t_ + key * kQueries<P> + lane;
        Unit* p = p_t() + key / P::kPair * kQueries<P> + lane;
        for (int j = 0; j < rows; j += P::kPair) {
          const V first = exp2_nonpositive((load_as<V>(s + j * kQueries<P>) - new_top) * c);
          V second{};
          tile_sum += first;
          if (P::kPair == 2 && j + 1 < rows) {
            second = exp2_nonpositive((load_as<V>(s + (j + 1) * kQueries<P>) - new_top) * c);
            tile_sum += second;
          }
          store_as(p + j / P::kPair * kQueries<P>, make_units<P>(first, second));
        }
      }
      const V factor = exp2_nonpositive((old_top - new_top) * c);
      store_as(top + lane, new_top);
      store_as(sum + lane, load_as<V>(sum + lane) * factor + tile_sum);
      if (changes_nothing(factor)) continue;
      for (std::int64_t d = 0; d < v_dim; ++d)
        store_as(o_t + d * kQueries<P> + lane, load_as<V>(o_t + d * kQueries<P> + lane) * factor);
    }
  }
  static bool changes_nothing(const V& factor) {
    bool same = true;
    for (int i = 0; i < kLanes<P>; ++i) same &= factor[i] == Acc{1};
    return same;
  }

  Acc* factor_ = nullptr;
  Acc* s_t_ = nullptr;  ///< [kKeys, kQueries]
  Staging<P> staging_;
};

}  // namespace athanor::cpu::attention
