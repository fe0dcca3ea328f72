// The backward of attention.cpp. Scores are computed again from lse; with P = exp(scale*s - lse), dP = dO v^T and
// delta = rowsum(dO * o):  dS = P (dP - delta) scale,  dv = P^T dO,  dk = dS^T q,  dq = dS k.
// Source: Dao, FlashAttention-2 (arXiv 2307.08691), algorithm 2, with the loops exchanged: tiles of queries outside, so
// that dq stays in a tile and queries are packed once.
// Law: one (key/value head, stretch) is one piece of work; dk and dv grow over query heads, then query tiles,
// in order. So gradients depend neither on threads nor on other sequences of the batch.
#include <vector>

#include "src/backend/cpu/attention_ops.hpp"
#include "src/backend/cpu/attention_tile.hpp"
#include "src/backend/cpu/cpu_backend.hpp"

namespace athanor {
namespace cpu::attention {
namespace {

/// Whether rows of keys serve as units along keys without packing.
template <class P>
inline constexpr bool kRowsAreUnits = P::kInPlace&& P::kPair == 1;

template <class P>
struct BackwardOperands {
  using Element = typename P::Element;
  using Acc = typename P::Acc;
  Element *dq, *dk, *dv;
  const Element *d_o, *q, *k, *v, *o;
  const Acc* lse_TH;
  const std::int32_t *key_begin_T, *key_end_T;  ///< key_end null: t + 1
};

template <class P>
class StretchBackward {
 public:
  using Element = typename P::Element;
  using Acc = typename P::Acc;
  using Unit = typename P::Unit;
  using V = typename Simd<Acc>::V;
  using Int = typename Visibility<P>::Int;
  static constexpr int kQ = kQueries<P>;

  StretchBackward(const BackwardOperands<P>& operands, const AttentionArgs& args, const Stretch& stretch,
                  std::int64_t g)
      : t_(operands), a_(args), stretch_(stretch), keys_(stretch.key_end - stretch.key_begin), g_(g) {}

  void run() {
    const std::int64_t group = a_.num_heads / a_.num_kv_heads;
    carve_scratch([&](Carver& carver) { carve(carver); });
    std::fill_n(dk_, keys_ * qk_columns_, Acc{});
    std::fill_n(dv_, keys_ * v_columns_, Acc{});
    stage_keys();
    for (std::int64_t h = g_ * group; h < (g_ + 1) * group; ++h)
      for (std::int64_t first = stretch_.query_begin; first < stretch_.query_end; first += kQ)
        query_tile(h, first, static_cast<int>(std::min<std::int64_t>(kQ, stretch_.query_end - first)));
    const auto scale = static_cast<Acc>(a_.scale);
    for (std::int64_t j = 0; j < keys_; ++j) {
      const std::int64_t row = (stretch_.key_begin + j) * a_.num_kv_heads + g_;
      for (std::int64_t d = 0; d < a_.qk_dim; ++d)
        t_.dk[row * a_.qk_dim + d] = store<Element>(dk_[j * qk_columns_ + d] * scale);
      for (std::int64_t d = 0; d < a_.v_dim; ++d) t_.dv[row * a_.v_dim + d] = store<Element>(dv_[j * v_columns_ + d]);
    }
  }

 private:
  void carve(Carver& carver) {
    carver.take(dk_, keys_ * qk_columns_);
    carver.take(dv_, keys_ * v_columns_);
    if (!P::kInPlace) carver.take(v_rows_copy_, keys_ * a_.v_dim);
    if (!kRowsAreUnits<P>) carver.take(k_along_keys_copy_, units<P>(keys_) * a_.qk_dim);
    carver.take(q_t_, units<P>(a_.qk_dim) * kQ);
    carver.take(do_t_, units<P>(a_.v_dim) * kQ);
    carver.take(q_rows_, kQ / P::kPair * qk_columns_);
    carver.take(do_rows_, kQ / P::kPair * v_columns_);
    carver.take(s_t_, kKeys * kQ);
    carver.take(dp_t_, kKeys * kQ);
    carver.take(p_rows_, kKeys * kQ / P::kPair);
    carver.take(ds_rows_, kKeys * kQ / P::kPair);
    carver.take(dq_t_, a_.qk_dim * kQ);
    carver.take(lse_, kQ);
    carver.take(delta_, kQ);
  }

  /// Points k_rows_, v_rows_ (units along the head) and k_along_keys_ (units along keys) at tensors or copies.
  void stage_keys() {
    const std::int64_t qk_stride = a_.num_kv_heads * a_.qk_dim;
    const std::int64_t v_stride = a_.num_kv_heads * a_.v_dim;
    const Element* k = t_.k + (stretch_.key_begin * a_.num_kv_heads + g_) * a_.qk_dim;
    const Element* v = t_.v + (stretch_.key_begin * a_.num_kv_heads + g_) * a_.v_dim;
    k_rows_ = P::in_place(k), k_stride_ = qk_stride / P::kPair;
    v_rows_ = P::in_place(v), v_stride_ = v_stride / P::kPair;
    k_along_keys_ = k_rows_, k_along_stride_ = k_stride_;
    if constexpr (!kRowsAreUnits<P>) {
      pack_rows<P>(k_along_keys_copy_, a_.qk_dim, k, qk_stride, keys_, a_.qk_dim);
      k_along_keys_ = k_along_keys_copy_, k_along_stride_ = a_.qk_dim;
    }
    if constexpr (!P::kInPlace) {
      pack_rows<P>(v_rows_copy_, a_.v_dim, v, v_stride, keys_, a_.v_dim);
      v_rows_ = v_rows_copy_, v_stride_ = a_.v_dim;
      k_rows_ = k_along_keys_, k_stride_ = k_along_stride_;
    }
  }

  void query_tile(std::int64_t h, std::int64_t first, int tokens) {
    const std::int64_t q_stride = a_.num_heads * a_.qk_dim, o_stride = a_.num_heads * a_.v_dim;
    const Element* q = t_.q + (first * a_.num_heads + h) * a_.qk_dim;
    const Element* d_o = t_.d_o + (first * a_.num_heads + h) * a_.v_dim;
    const Element* o = t_.o + (first * a_.num_heads + h) * a_.v_dim;
    pack_lanes<P>(q_t_, kQ, tokens, a_.qk_dim, [&](std::int64_t i) { return q + i * q_stride; });
    pack_lanes<P>(do_t_, kQ, tokens, a_.v_dim, [&](std::int64_t i) { return d_o + i * o_stride; });
    pack_rows<P>(q_rows_, qk_columns_, q, q_stride, tokens, a_.qk_dim);
    pack_rows<P>(do_rows_, v_columns_, d_o, o_stride, tokens, a_.v_dim);
    Visibility<P> visible;
    for (int i = 0; i < kQ; ++i) lse_[i] = delta_[i] = Acc{};
    for (int i = 0; i < tokens; ++i) {
      visible.lo[i] = static_cast<Int>(t_.key_begin_T[first + i] - stretch_.key_begin);
      visible.hi[i] = static_cast<Int>((t_.key_end_T ? t_.key_end_T[first + i] : first + i + 1) - stretch_.key_begin);
      lse_[i] = t_.lse_TH[(first + i) * a_.num_heads + h] * exponent_scale<P>(1.0);
      delta_[i] = dot<P>(o + i * o_stride, d_o + i * o_stride, a_.v_dim);
    }
    visible.finish(tokens);
    std::fill_n(dq_t_, a_.qk_dim * kQ, Acc{});

    for (std::int64_t key = visible.min_lo / kKeys * kKeys; key < visible.max_hi; key += kKeys) {
      const int count = static_cast<int>(std::min<std::int64_t>(kKeys, visible.max_hi - key));
      const TilePlan<P> plan(visible, key, count);
      for (int i = 0; i < plan.count; ++i) piece(plan.pieces[i], plan.masked, visible, key, tokens);
    }

    std::fill_n(lse_, kQ, static_cast<Acc>(a_.scale));
    unpack_lanes<P>(dq_t_, kQ, lse_, tokens, a_.qk_dim,
                    [&](std::int64_t i) { return t_.dq + ((first + i) * a_.num_heads + h) * a_.qk_dim; });
  }

  void piece(const typename TilePlan<P>::Piece& piece, bool masked, const Visibility<P>& visible,
             std::int64_t first_key, int tokens) {
    const std::int64_t key = first_key + piece.key, rows = piece.keys;
    const int vectors = piece.vector_end - piece.vector_begin, lane = piece.vector_begin * kLanes<P>;
    product<P, false>(rows, vectors, units<P>(a_.qk_dim), k_rows_ + key * k_stride_, k_stride_, q_t_ + lane, kQ,
                      s_t_ + lane, kQ, false);
    product<P, false>(rows, vectors, units<P>(a_.v_dim), v_rows_ + key * v_stride_, v_stride_, do_t_ + lane, kQ,
                      dp_t_ + lane, kQ, false);
    for (int n = piece.vector_begin; n < piece.vector_end; ++n) probabilities(n, key, rows, masked, visible);
    // Lanes past the last token have no row to add.
    const std::int64_t queries = std::min(piece.vector_end * kLanes<P>, tokens) - lane;
    const std::int64_t depth = units<P>(queries), first_unit = lane / P::kPair;
    product<P, false>(rows, v_columns_ / kLanes<P>, depth, p_rows_ + first_unit, kQ / P::kPair,
                      do_rows_ + first_unit * v_columns_, v_columns_, dv_ + key * v_columns_, v_columns_, true);
    product<P, false>(rows, qk_columns_ / kLanes<P>, depth, ds_rows_ + first_unit, kQ / P::kPair,
                      q_rows_ + first_unit * qk_columns_, qk_columns_, dk_ + key * qk_columns_, qk_columns_, true);
    product<P, true>(a_.qk_dim, vectors, units<P>(rows), k_along_keys_ + key / P::kPair * k_along_stride_,
                     k_along_stride_, ds_along_keys() + lane, kQ, dq_t_ + lane, kQ, true);
  }

  /// s_t_, dp_t_ to P and dS, as units along queries (p_rows_, ds_rows_) and along keys (ds_along_keys).
  void probabilities(int n, std::int64_t first_key, std::int64_t rows, bool masked, const Visibility<P>& visible) {
    const Acc c = exponent_scale<P>(a_.scale);
    const int lane = n * kLanes<P>;
    const V lse = load_as<V>(lse_ + lane), delta = load_as<V>(delta_ + lane);
    const auto one = [&](std::int64_t j) {
      V p = exp2_nonpositive(load_as<V>(s_t_ + j * kQ + lane) * c - lse);
      V ds = p * (load_as<V>(dp_t_ + j * kQ + lane) - delta);
      if (masked) {
        const auto sees = visible.sees(n, first_key + j);
        p = sees ? p : V{};
        ds = sees ? ds : V{};
      }
      store_lanes<P>(p_rows_ + (j * kQ + lane) / P::kPair, p);
      store_lanes<P>(ds_rows_ + (j * kQ + lane) / P::kPair, ds);
      return ds;
    };
    for (std::int64_t j = 0; j < rows; j += P::kPair) {
      const V first = one(j);
      if constexpr (P::kPair == 2) {
        const V second = j + 1 < rows ? one(j + 1) : V{};
        store_as(ds_along_keys() + j / 2 * kQ + lane, make_units<P>(first, second));
      }
    }
  }
  /// Rows of dS as the right operand over keys: ds_rows_ itself, or pairs of keys where s_t_ was.
  Unit* ds_along_keys() { return P::kPair == 1 ? ds_rows_ : reinterpret_cast<Unit*>(s_t_); }

  const BackwardOperands<P>& t_;
  const AttentionArgs& a_;
  const Stretch stretch_;
  const std::int64_t keys_, g_;
  const std::int64_t qk_columns_ = padded<P>(a_.qk_dim), v_columns_ = padded<P>(a_.v_dim);

  const Unit *k_rows_ = nullptr, *v_rows_ = nullptr, *k_along_keys_ = nullptr;
  std::int64_t k_stride_ = 0, v_stride_ = 0, k_along_stride_ = 0;
  Unit *v_rows_copy_ = nullptr, *k_along_keys_copy_ = nullptr;
  Unit *q_t_ = nullptr, *do_t_ = nullptr;        ///< [units of head, kQ]
  Unit *q_rows_ = nullptr, *do_rows_ = nullptr;  ///< [units of queries, columns]
  Unit *p_rows_ = nullptr, *ds_rows_ = nullptr;  ///< [kKeys, units of queries]
  Acc *s_t_ = nullptr, *dp_t_ = nullptr;         ///< [kKeys, kQ]
  Acc *dq_t_ = nullptr, *dk_ = nullptr, *dv_ = nullptr;
  Acc *lse_ = nullptr, *delta_ = nullptr;
};

}  // namespace
}  // namespace cpu::attention

void CpuBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, const Tensor& d_o, const Tensor& q,
                                    const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse_TH,
                                    const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args,
                                    Stream& stream) {
  using namespace cpu::attention;
  using cpu::data;
  require_attention("attention_backward", q, k, v, o, lse_TH, key_begin_T, key_end_T, args);
  require_attention("attention_backward", dq, dk, dv, d_o, lse_TH, key_begin_T, key_end_T, args);
  require(dq.dtype() == q.dtype(), "attention_backward", "gradients of the operands' type", dq, q);
  dispatch_units(q.dtype(), args, "attention_backward", [&](auto arithmetic) {
    using P = decltype(arithmetic);
    using T = typename P::Element;
    run_on(stream, [=, a = args] {
      const BackwardOperands<P> operands{data<T>(dq),
                                         data<T>(dk),
                                         data<T>(dv),
                                         data<T>(d_o),
                                         data<T>(q),
                                         data<T>(k),
                                         data<T>(v),
                                         data<T>(o),
                                         data<typename P::Acc>(lse_TH),
                                         data<std::int32_t>(key_begin_T),
                                         key_end_T.defined() ? data<std::int32_t>(key_end_T) : nullptr};
      thread_local std::vector<Stretch> stretches_of_thread;
      find_stretches(operands.key_begin_T, operands.key_end_T, q.shape().flat_rows(), stretches_of_thread);
      const auto& stretches = stretches_of_thread;  // the team reads this thread's list
      if (key_end_T.defined()) {                    // some keys may be seen by no query
        std::fill_n(operands.dk, dk.numel(), T{});
        std::fill_n(operands.dv, dv.numel(), T{});
      }
      const auto count = static_cast<std::int64_t>(stretches.size());
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t unit = 0; unit < count * a.num_kv_heads; ++unit)
        StretchBackward<P>(operands, a, stretches[static_cast<std::size_t>(unit % count)], unit / count).run();
    });
  });
}

}  // namespace athanor
