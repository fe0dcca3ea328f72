// Backend: every operation of the house on one page; one object a device.
//
// Laws
//  * Enqueued: an operation returns when its work is on the stream. Output tensors are made by the caller.
//  * Types: "x" any of f32, bf16, f64, the same in all activation and weight operands of a call; "acc" is
//    accumulation_dtype(x): f64 for f64, else f32. Statistics, gradients of weights, router and losses are acc. ids are
//    i32.
//  * Weight gradients accumulate (dw += ...); activation gradients and outputs overwrite, unless a name or flag says
//  so.
//  * Deterministic: the same inputs give the same bits; row r of a row-wise operation does not depend on other rows.
//  * Optional operands are undefined tensors. Shapes are checked at the call (athanor::Error with both shapes).
//  * Inside, a norm, a softmax, a sum is computed in acc whatever x is.
//
// Legend: T tokens, D model width, I/O in/out features, H query heads, G key/value heads, Q width of one query/key
// head, V width of one value head (in losses: vocabulary), E experts, K experts a token, R = T*K routed rows, F expert
// inner width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/backend/operation_args.hpp"
#include "src/backend/stream.hpp"
#include "src/backend/tensor.hpp"
#include "src/base/rng.hpp"
#include "src/base/shard_spec.hpp"

namespace athanor {

class Backend {
 public:
  virtual ~Backend() = default;

  // ---- the device
  virtual Device device() const = 0;
  /// What the device is, for people: its name, size and driver.
  virtual std::string description() const = 0;
  virtual Arena& arena() = 0;
  virtual std::unique_ptr<Stream> make_stream() = 0;
  virtual std::unique_ptr<Event> make_event() = 0;
  /// Of a stream of this device, which they must not outlive. @throws Error on another stream than the first where the
  /// device replays.
  virtual std::unique_ptr<Graphs> make_graphs(Stream& stream) = 0;
  /// A tensor with unspecified elements (NaN-filled on the guarded device).
  Tensor empty(const Shape& shape, DType dtype);
  /// While on, a row that gemm, gemm_fp8 and attention_forward make has the same bits however many rows are made with
  /// it, and attention_forward's are attention_cached's: what generated tokens need to have training's
  /// log-probabilities. Off at first. On the CPU it is always so; a GPU pays for it in speed. @returns what it was.
  bool keep_rows_alike(bool on) { return std::exchange(rows_alike_, on); }

  // ---- memory (memory.cpp)
  /// dst = host bytes, which may be reused when the call returns.
  virtual void upload(Tensor dst, std::span<const std::byte> host, Stream& stream) = 0;
  /// host = src; readable after stream.synchronize(), until when `host` must live.
  virtual void download(std::span<std::byte> host, const Tensor& src, Stream& stream) = 0;
  /// dst = src converted to dst's floating type; same element count.
  virtual void copy(Tensor dst, const Tensor& src, Stream& stream) = 0;
  /// Every element = value (any dtype).
  virtual void fill(Tensor dst, double value, Stream& stream) = 0;
  /// dst = N(0, std^2); element e of the logical tensor named spec.name draws number e of (seed, weight_init,
  /// hash(name)), so a shard holds what the whole tensor would. dst has spec.extent's shape.
  virtual void fill_normal(Tensor dst, double std, std::uint64_t seed, const ShardSpec& spec, Stream& stream) = 0;
  /// dst_RD[r] = src_ND[ids_R[r]]; a row of zeros where the id is -1 (it lies on another rank). Embedding look-up; also
  /// a gather of cache rows.
  virtual void gather_rows(Tensor dst_RD, const Tensor& src_ND, const Tensor& ids_R, Stream& stream) = 0;
  /// dst_ND[ids_R[r]] = src_RD[r]; ids distinct, rows of id -1 left out. Writes rows of a cache.
  virtual void scatter_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) = 0;
  /// dst_ND[ids_R[r]] += src_RD[r] in the order of r, rows of id -1 left out; dst acc, src x. Embedding gradient.
  virtual void scatter_add_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) = 0;
  /// out_R[r] = ids_R[r] - begin where that is in [0, count), else -1 (i32): ids of a whole table as ids of the rows
  /// that one rank holds.
  virtual void local_ids(Tensor out_R, const Tensor& ids_R, std::int64_t begin, std::int64_t count, Stream& stream) = 0;
  /// out_T(A+B) = [a_TA | b_TB].
  virtual void concat_columns(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) = 0;
  /// The inverse of concat_columns.
  virtual void split_columns(Tensor a, Tensor b, const Tensor& in, Stream& stream) = 0;

  // ---- elementwise (elementwise.cpp)
  /// out = a + b; out may be a or b.
  virtual void add(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) = 0;
  /// x *= factor.
  virtual void scale(Tensor x, double factor, Stream& stream) = 0;
  /// x_TO += b_O on every row.
  virtual void add_bias(Tensor x_TO, const Tensor& b_O, Stream& stream) = 0;
  /// db_O += sum over T of dy_TO.
  virtual void bias_backward(Tensor db_O, const Tensor& dy_TO, Stream& stream) = 0;
  /// y = silu(gate) * up.
  virtual void swiglu_forward(Tensor y_TF, const Tensor& gate_TF, const Tensor& up_TF, Stream& stream) = 0;
  /// dgate, dup from dy; dgate may be gate's tensor and dup up's.
  virtual void swiglu_backward(Tensor dgate_TF, Tensor dup_TF, const Tensor& dy_TF, const Tensor& gate_TF,
                               const Tensor& up_TF, Stream& stream) = 0;

  // ---- matrix products (gemm.cpp). Operands are read as matrices [flat_rows, last dim].
  /// c = op(a) * op(b) (+ c when accumulate). a, b: x; c: x or acc. Linear: y_TO = x_TI * w_OI^T.
  virtual void gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                    bool accumulate, Stream& stream) = 0;
  /// y_TO = x_TI * w_OI^T + b_O; types as of gemm, b of y's. A GPU rounds once; elsewhere it is gemm and add_bias.
  virtual void gemm_bias(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, const Tensor& b_O, Stream& stream) = 0;
  /// Rows [offsets[e], offsets[e+1]) of x_RI times expert e's matrix: y_RO = x_RI * w_EOI[e]^T. offsets_E1: i32 on the
  /// device; rows past offsets[E] are left alone.
  virtual void grouped_gemm(Tensor y_RO, const Tensor& x_RI, const Tensor& w_EOI, const Tensor& offsets_E1,
                            Stream& stream) = 0;
  /// dx_RI = dy_RO * w_EOI[e] (+ dx when accumulate).
  virtual void grouped_gemm_backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& w_EOI,
                                           const Tensor& offsets_E1, bool accumulate, Stream& stream) = 0;
  /// dw_EOI[e] += dy_RO^T * x_RI over expert e's rows; dw: acc.
  virtual void grouped_gemm_backward_weight(Tensor dw_EOI, const Tensor& dy_RO, const Tensor& x_RI,
                                            const Tensor& offsets_E1, Stream& stream) = 0;

  // ---- matrix products in FP8 as DeepSeek-V3 was trained (fp8.cpp; its report, section 3.3). x: f32 or bf16. A tile's
  // scale is its largest magnitude / 448 (at least 2^-100), its elements are x / scale as E4M3 (src/base/e4m3.hpp): the
  // same bits on every device; a NaN or an infinity makes the tile NaN. A product is sum over tiles of 128 along the
  // depth, in order, of (sum of 128 products) * (scale_a * scale_b), added up in f32; the CPU takes the inner sum
  // exactly, tensor cores round inside it.
  /// Room for quantize_fp8_rows of [rows, columns].
  Fp8Matrix empty_fp8_rows(std::int64_t rows, std::int64_t columns);
  /// Room for quantize_fp8_blocks into `shape`, [N, K] or [E, N, K].
  Fp8Matrix empty_fp8_blocks(const Shape& shape);
  /// Room for quantize_fp8_columns of [tokens, columns] in `groups` groups: [columns, S] by rows, S enough for every
  /// group to begin at a multiple of 128.
  Fp8Matrix empty_fp8_columns(std::int64_t tokens, std::int64_t columns, std::int64_t groups);
  /// out = x_TI by rows: 1 x 128 tiles. Forward's and input gradients' left operand.
  virtual void quantize_fp8_rows(const Fp8Matrix& out, const Tensor& x_TI, Fp8Scaling scaling, Stream& stream) = 0;
  /// x_TI = the numbers for which rows_TI stands: element * scale, rounded to x's type (not at all where the scales are
  /// powers of two).
  virtual void dequantize_fp8_rows(Tensor x_TI, const Fp8Matrix& rows_TI, Stream& stream) = 0;
  /// out_IS by rows = x_TI transposed, 128 x 1 tiles along the tokens: weight gradients' operands. Tokens of group e
  /// (offsets_E1 i32; undefined: one group of all) begin at the sum of the groups before it, each rounded up to 128;
  /// places between groups are 0.
  virtual void quantize_fp8_columns(const Fp8Matrix& out, const Tensor& x_TI, const Tensor& offsets_E1,
                                    Stream& stream) = 0;
  /// The same of the numbers for which rows_TI stands, with scales that are powers of two. Where those of the rows are
  /// too, nothing is rounded again but what is less than 2^-6 scales (1/14336 of the largest of its tile or less), and
  /// tiles of the same numbers get the same bits, however the rows were scaled.
  virtual void retile_fp8_columns(const Fp8Matrix& out, const Fp8Matrix& rows_TI, const Tensor& offsets_E1,
                                  Stream& stream) = 0;
  /// out by blocks = w, or each of its matrices transposed: 128 x 128 tiles. Weights.
  virtual void quantize_fp8_blocks(const Fp8Matrix& out, const Tensor& w, Transpose transpose, Stream& stream) = 0;
  /// y_MN (f32 or bf16) = a_MK * b_NK^T (+ y when accumulate); a by rows, b by either.
  virtual void gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, Stream& stream) = 0;
  /// Rows [offsets[e], offsets[e+1]) of y_RN = those of a_RK (by rows) * b_ENK[e]^T (by blocks) (+ y when accumulate).
  virtual void grouped_gemm_fp8(Tensor y_RN, const Fp8Matrix& a_RK, const Fp8Matrix& b_ENK, const Tensor& offsets_E1,
                                bool accumulate, Stream& stream) = 0;
  /// dw_EMN[e] (f32) += a_MS * b_NS^T over the places of group e; a and b from quantize_fp8_columns with offsets_E1.
  virtual void grouped_gemm_fp8_weight(Tensor dw_EMN, const Fp8Matrix& a_MS, const Fp8Matrix& b_NS,
                                       const Tensor& offsets_E1, Stream& stream) = 0;

  // ---- normalisation (norm.cpp)
  /// y_TD = x_TD * rstd_T * w_D, rstd = 1/sqrt(mean(x^2) + eps); keeps rstd_T (acc) for backward.
  virtual void rms_norm_forward(Tensor y_TD, Tensor rstd_T, const Tensor& x_TD, const Tensor& w_D, double eps,
                                Stream& stream) = 0;
  /// dx_TD = dresidual_TD (optional) + gradient of the norm. dx may be dresidual or dy.
  virtual void rms_norm_backward_input(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& w_D,
                                       const Tensor& rstd_T, const Tensor& dresidual_TD, Stream& stream) = 0;
  /// dw_D += sum over T of dy * x * rstd.
  virtual void rms_norm_backward_weight(Tensor dw_D, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                                        Stream& stream) = 0;

  // ---- rotary embedding (rope.cpp)
  /// Rotates entries [offset, offset+rope_dim) of every head of x_TC in place by the angles of row positions_T[t] (i32)
  /// of the tables cos_PR, sin_PR (acc, [max_positions, rope_dim/2]).
  virtual void rope(Tensor x_TC, const Tensor& positions_T, const Tensor& cos_PR, const Tensor& sin_PR,
                    const RopeArgs& args, Stream& stream) = 0;

  // ---- attention (attention.cpp)
  /// k_T(H*(n+r)) and v_T(H*v) from kv_T(H*(n+v)) and the shared k_pe_Tr: k head = [k_nope | k_pe]. DeepSeek-V3 report
  /// eq. 3-5.
  virtual void mla_assemble_kv(Tensor k, Tensor v, const Tensor& kv, const Tensor& k_pe, std::int64_t num_heads,
                               Stream& stream) = 0;
  /// The transpose: dkv and dk_pe (summed over heads) from dk and dv.
  virtual void mla_assemble_kv_backward(Tensor dkv, Tensor dk_pe, const Tensor& dk, const Tensor& dv,
                                        std::int64_t num_heads, Stream& stream) = 0;
  /// o_T(HV), lse_TH (acc): query row t attends to key rows [key_begin_T[t], key_end_T[t]) (i32): causal within its row
  /// or document. key_end undefined: t + 1, queries and keys being the same T tokens. Where it is defined, k and v may
  /// have any number of rows, both tensors rise with t, and no query sees nothing.
  virtual void attention_forward(Tensor o, Tensor lse_TH, const Tensor& q, const Tensor& k, const Tensor& v,
                                 const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args,
                                 Stream& stream) = 0;
  virtual void attention_backward(Tensor dq, Tensor dk, Tensor dv, const Tensor& d_o, const Tensor& q, const Tensor& k,
                                  const Tensor& v, const Tensor& o, const Tensor& lse_TH, const Tensor& key_begin_T,
                                  const Tensor& key_end_T, const AttentionArgs& args, Stream& stream) = 0;
  /// Decode and prefill against a cache in pages of L = page_rows rows (whole_page): key j of slot s is row
  /// pages_SP[s, j / L] * L + j % L of k_cache_(N*L)(G*Q) and v_cache, and query row r of q_R(HQ) attends to keys [0,
  /// lengths_R[r]) of slot slots_R[r] (all i32). The result does not depend on where pages lie, nor on their size. An
  /// undefined v_cache means: the value is the first v_dim entries of the key row (absorbed MLA, where the cache row is
  /// [c_kv | k_pe]).
  virtual void attention_cached(Tensor o, const Tensor& q, const Tensor& k_cache, const Tensor& v_cache,
                                const Tensor& pages_SP, const Tensor& slots_R, const Tensor& lengths_R,
                                std::int64_t page_rows, const AttentionArgs& args, Stream& stream) = 0;
  /// For every head h: y_R(H*B)[h] = x_R(H*A)[h] * w_HAB'[h], w's slice of head h being rows [h*stride + first, + A or
  /// B) of the matrix w_(H*stride)C. With transpose no: A = C, B = count, y = x * slice^T; with yes: A = count, B = C,
  /// y = x * slice. Absorbed MLA: q_nope -> latent (yes, slice = W_UK) and latent -> head output (no, slice = W_UV).
  virtual void per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                             std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream) = 0;

  // ---- routing (routing.cpp)
  /// scores_TE (acc), and for each token the K chosen experts in order of falling selection score (lower id on a tie)
  /// with their weights. logits_TE, bias_E: acc. Selection uses score + bias, weights use the score; experts outside
  /// the chosen groups count as -inf.
  virtual void router_forward(Tensor scores_TE, Tensor expert_ids_TK, Tensor weights_TK, const Tensor& logits_TE,
                              const Tensor& bias_E, const RouterArgs& args, Stream& stream) = 0;
  /// dlogits_TE from dweights_TK plus dscores_TE (optional: the balance loss).
  virtual void router_backward(Tensor dlogits_TE, const Tensor& dweights_TK, const Tensor& dscores_TE,
                               const Tensor& scores_TE, const Tensor& expert_ids_TK, const RouterArgs& args,
                               Stream& stream) = 0;
  /// Sequence-wise balance loss, DeepSeek-V3 report eq. 17-20: loss_1 += alpha * mean over sequences of sum_i f_i P_i,
  /// and dscores_TE = its gradient times `loss_scale`. T = sequences * tokens_per_sequence. f counts the top K of the
  /// unbiased scores.
  virtual void sequence_balance_loss(Tensor loss_1, Tensor dscores_TE, const Tensor& scores_TE, std::int64_t top_k,
                                     std::int64_t tokens_per_sequence, double alpha, double loss_scale,
                                     Stream& stream) = 0;
  /// counts_E (i64) += tokens routed to each expert.
  virtual void count_experts(Tensor counts_E, const Tensor& expert_ids_TK, Stream& stream) = 0;
  /// bias_E (acc) += speed * sign(mean(counts) - counts_E). DeepSeek-V3 report section 2.1.2; arXiv 2408.15664.
  virtual void router_bias_update(Tensor bias_E, const Tensor& counts_E, double speed, Stream& stream) = 0;

  // ---- permutation (permute.cpp)
  /// Stable counting sort of the R = T*K pairs by expert: row_of_TK[t,k] is the place of pair (t,k), pair_of_R its
  /// inverse (flat t*K+k), offsets_E1 the first row of each expert. All i32. Where experts live on several ranks, an id
  /// of -1 says that the pair is served elsewhere: it gets row -1, and R counts the others only. Rows of -1 are passed
  /// over by the operations below.
  virtual void sort_by_expert(Tensor pair_of_R, Tensor row_of_TK, Tensor offsets_E1, const Tensor& expert_ids_TK,
                              Stream& stream) = 0;
  /// y_RD[r] = x_TD[pair_of_R[r] / K].
  virtual void permute_rows(Tensor y_RD, const Tensor& x_TD, const Tensor& pair_of_R, std::int64_t top_k,
                            Stream& stream) = 0;
  /// y_TD[t] = (y_TD[t] when accumulate, else 0) + the sum over k of weights_TK[t,k] * x_RD[row_of_TK[t,k]], added up
  /// in that order and rounded once (weights undefined: 1; row -1: 0).
  virtual void unpermute_rows(Tensor y_TD, const Tensor& x_RD, const Tensor& row_of_TK, const Tensor& weights_TK,
                              bool accumulate, Stream& stream) = 0;
  /// dx_RD[row] = weight * dy_TD[t], dweights_TK[t,k] = dot(dy_TD[t], x_RD[row]), 0 where row is -1.
  virtual void unpermute_rows_backward(Tensor dx_RD, Tensor dweights_TK, const Tensor& dy_TD, const Tensor& x_RD,
                                       const Tensor& row_of_TK, const Tensor& weights_TK, Stream& stream) = 0;
  // The same of FP8 (packed_rows.cpp). A packed row, as it travels between ranks: D elements, then of every tile the
  // exponent of its scale in a byte, as floats have it, zeros up to P = fp8_row_bytes(D); u8.
  /// out_TP = x_TD (by rows), whose scales are powers of two (of others the mantissa is lost).
  virtual void pack_fp8_rows(Tensor out_TP, const Fp8Matrix& x_TD, Stream& stream) = 0;
  /// y_RD (by rows) [r] = x_TP[pair_of_R[r] / K].
  virtual void permute_fp8_rows(const Fp8Matrix& y_RD, const Tensor& x_TP, const Tensor& pair_of_R, std::int64_t top_k,
                                Stream& stream) = 0;
  /// As unpermute_rows_backward with x_RD of f32 or bf16: the weight goes into the scales of dx_RD (by rows), so that
  /// no element is rounded again.
  virtual void unpermute_fp8_rows_backward(const Fp8Matrix& dx_RD, Tensor dweights_TK, const Tensor& dy_TP,
                                           const Tensor& x_RD, const Tensor& row_of_TK, const Tensor& weights_TK,
                                           Stream& stream) = 0;

  // ---- losses (cross_entropy.cpp)
  /// losses_T (acc) = -log softmax(logits_TV)[targets_T]; where dlogits_TV is defined, (softmax - onehot) *
  /// loss_weights_T[t] in logits' type (it may be logits' own tensor). targets i32; a token of weight 0 costs loss 0
  /// whatever its target.
  virtual void cross_entropy(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& targets_T,
                             const Tensor& loss_weights_T, Stream& stream) = 0;
  // The same with the vocabulary cut over ranks: each takes its part, the parts of all P ranks are merged, each goes
  // back through its own logits. local_targets_T (i32): the target among this rank's logits, -1 where it is elsewhere.
  /// part_T2 (acc) = {log sum exp(logits_TV), logit of the target or 0}.
  virtual void cross_entropy_part(Tensor part_T2, const Tensor& logits_TV, const Tensor& local_targets_T,
                                  Stream& stream) = 0;
  /// losses_T and lse_T (acc, of the whole vocabulary) from parts_PT2; loss 0 where the weight is 0.
  virtual void cross_entropy_merge(Tensor losses_T, Tensor lse_T, const Tensor& parts_PT2, const Tensor& loss_weights_T,
                                   Stream& stream) = 0;
  /// dlogits_TV = (exp(logits - lse) - onehot) * loss_weights_T[t]; it may be logits' own tensor.
  virtual void cross_entropy_part_backward(Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& lse_T,
                                           const Tensor& local_targets_T, const Tensor& loss_weights_T,
                                           Stream& stream) = 0;
  /// losses_T (acc) = KL(teacher || student) of the softmaxes, or KL(student || teacher) where `reverse`; where
  /// dlogits_TV is defined, the gradient by logits_TV * loss_weights_T[t] (it may be logits' own tensor). Weight 0:
  /// loss 0. Sources: Hinton et al. 2015 (arXiv 1503.02531); MiniLLM (arXiv 2306.08543).
  virtual void distillation(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV,
                            const Tensor& teacher_logits_TV, const Tensor& loss_weights_T, bool reverse,
                            Stream& stream) = 0;
  /// weights_T = what cross_entropy's gradient is to be weighted with so that it is that of the policy objective, from
  /// losses_T = -log p. sums_8 (f64) += by PolicySum (a maximum for kPolicyLargestGap). Tokens of loss_weights_T 0 get
  /// weight 0. All but sums of one type (acc). ref_logprobs_T undefined: no reference. sequence_ids_T (i32, runs of
  /// equal ids): for gspo, whose whole sequences must be in the call.
  virtual void policy_gradient(Tensor weights_T, Tensor sums_8, const Tensor& losses_T, const Tensor& old_logprobs_T,
                               const Tensor& ref_logprobs_T, const Tensor& advantages_T, const Tensor& loss_weights_T,
                               const Tensor& sequence_ids_T, const PolicyGradientArgs& args, Stream& stream) = 0;
  /// out_1 (f64) += sum_t a_T[t] * b_T[t] (b undefined: 1), in a fixed order.
  virtual void weighted_sum(Tensor out_1, const Tensor& a_T, const Tensor& b_T, Stream& stream) = 0;

  // ---- preferences and values: losses of a scalar head (preference.cpp). All acc but ids and sums; what has weight 0
  // counts for nothing and has gradient 0.
  /// Bradley-Terry on P pairs of N answers: pairs_P2 (i32) = {better, worse}, scores r and d = r_better - r_worse -
  /// margin; sums_8 (f64) += by PreferenceSum, the loss being weight * (-log sigmoid(d) + centering * (r_better +
  /// r_worse)^2); dscores_N = its gradient (0 for an answer of no pair). margins_P undefined: 0. Sources: InstructGPT
  /// (arXiv 2203.02155) eq. 1; centering: Eisenstein et al. 2023 (arXiv 2312.09244) eq. 2; margin: Llama 2 (arXiv
  /// 2307.09288) eq. 2.
  virtual void pairwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& pairs_P2,
                                   const Tensor& margins_P, const Tensor& weights_P, double centering,
                                   Stream& stream) = 0;
  /// Binary cross-entropy of sigmoid(score) with labels_N in [0, 1]: sums_8 += by PreferenceSum, dscores_N = weight *
  /// (sigmoid(score) - label).
  virtual void pointwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& labels_N,
                                    const Tensor& weights_N, Stream& stream) = 0;
  /// PPO's critic: sums_8 += by ValueSum, the loss of a token being weight * 0.5 * max((V - R)^2, (clip(V, old - clip,
  /// old + clip) - R)^2); dvalues_T = its gradient, 0 where the clipped one is larger. clip 0: not clipped, and
  /// old_values_T is not read (undefined does). Source: Schulman et al. 2017 as in openai/baselines ppo2.
  virtual void value_regression(Tensor dvalues_T, Tensor sums_8, const Tensor& values_T, const Tensor& old_values_T,
                                const Tensor& returns_T, const Tensor& weights_T, double clip, Stream& stream) = 0;

  // ---- optimizer (adamw.cpp)
  /// out_1 (f64) += sum of squares of x, in a fixed order that depends on x.numel() only.
  virtual void sum_squares(Tensor out_1, const Tensor& x, Stream& stream) = 0;
  /// out_1 (i64) += number of elements that are not finite.
  virtual void count_nonfinite(Tensor out_1, const Tensor& x, Stream& stream) = 0;
  /// AdamW with decoupled decay (Loshchilov & Hutter 2019): g = grad * grad_scale; weight = master cast to x.
  /// master, grad: acc; moments m, v: acc or bf16; all 1-D of one length. weight undefined: master is the weight
  /// itself.
  virtual void adamw(Tensor weight, Tensor master, Tensor m, Tensor v, const Tensor& grad, double grad_scale,
                     const AdamWArgs& args, Stream& stream) = 0;

  // ---- sampling (sampling.cpp)
  /// One token a row: ids_R (i32) and its log-probability logprobs_R (acc) under softmax(logits/temperature) *before*
  /// the truncations. Row r draws uniform number 0 of (seed, sampling, keys_R[r] (i64)).
  virtual void sample(Tensor ids_R, Tensor logprobs_R, const Tensor& logits_RV, const Tensor& keys_R,
                      std::uint64_t seed, const SamplingArgs& args, Stream& stream) = 0;

  // ---- generation (generation.cpp): what a loop over sampled tokens needs to stay on the device. Ids are i32.
  /// rows_R[r] = pages_SP[slots_R[r], p / L] * L + p % L with p = positions_R[r], L = page_rows: where a token's keys
  /// and values go in a cache (attention_cached); -1, nowhere, where lengths_R[r] is 0.
  virtual void cache_rows(Tensor rows_R, const Tensor& pages_SP, const Tensor& slots_R, const Tensor& positions_R,
                          const Tensor& lengths_R, std::int64_t page_rows, Stream& stream) = 0;
  /// keys_R (i64), for sample: a word of (prompts_R (i64), siblings_R, counts_R), src/base/sampling_key.hpp.
  virtual void sampling_keys(Tensor keys_R, const Tensor& prompts_R, const Tensor& siblings_R, const Tensor& counts_R,
                             Stream& stream) = 0;
  /// A step of R sequences, from what was sampled for them. Where row r has not ended: tokens_NR[n, r] = ids_R[r],
  /// logprobs_NR[n, r] = logprobs_R[r] (acc) with n = step_1[0], the row's newest token is ids_R[r], one place further
  /// on; it ends (length 0) when that is one of stop_ids_S (undefined: none) or its count reaches most_tokens. Where it
  /// has ended: tokens_NR[n, r] = -1, logprobs_NR[n, r] = 0. Then step_1[0] += 1 (i32), which must have been below N.
  virtual void advance_rows(const WrittenRows& rows, Tensor tokens_NR, Tensor logprobs_NR, Tensor step_1,
                            const Tensor& ids_R, const Tensor& logprobs_R, const Tensor& stop_ids_S,
                            std::int64_t most_tokens, Stream& stream) = 0;

 protected:
  bool rows_alike() const { return rows_alike_; }

 private:
  bool rows_alike_ = false;
};

/// Devices this build and machine offer: "cpu", "cpu-guarded", then "cuda:N".
std::vector<std::string> available_devices();
/// The back end of a device. The one place that knows which back ends are compiled in.
/// @throws ConfigError when the device is unknown, not compiled in or not present.
std::unique_ptr<Backend> make_backend(const std::string& device);

/// Host data as a tensor. T is the C++ type of dtype.
template <class T>
Tensor upload_vector(Backend& ops, std::span<const T> values, const Shape& shape, Stream& stream) {
  Tensor tensor = ops.empty(shape, dtype_of_v<T>);
  ops.upload(tensor, std::as_bytes(values), stream);
  return tensor;
}

}  // namespace athanor
