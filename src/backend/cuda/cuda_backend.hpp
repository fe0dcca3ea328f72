// The CUDA back end: every operation of Backend on one GPU. Law: an operation checks shapes at the call, then enqueues
// its kernels and returns; a bad index is told by the stream's synchronize(). Nothing waits for the device but
// synchronize() and memory that grows.
#pragma once

#include "src/backend/backend.hpp"

namespace athanor::cuda {

class CudaBackend final : public Backend {
 public:
  /// @throws Error when there is no such device.
  explicit CudaBackend(int device);
  ~CudaBackend() override;

  Device device() const override;
  std::string description() const override;
  Arena& arena() override;
  std::unique_ptr<Stream> make_stream() override;
  std::unique_ptr<Event> make_event() override;
  std::unique_ptr<Graphs> make_graphs(Stream& stream) override;
  void upload(Tensor dst, std::span<const std::byte> host, Stream& stream) override;
  void download(std::span<std::byte> host, const Tensor& src, Stream& stream) override;
  void copy(Tensor dst, const Tensor& src, Stream& stream) override;
  void fill(Tensor dst, double value, Stream& stream) override;
  void fill_normal(Tensor dst, double std, std::uint64_t seed, const ShardSpec& spec, Stream& stream) override;
  void gather_rows(Tensor dst_RD, const Tensor& src_ND, const Tensor& ids_R, Stream& stream) override;
  void scatter_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) override;
  void scatter_add_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) override;
  void local_ids(Tensor out_R, const Tensor& ids_R, std::int64_t begin, std::int64_t count, Stream& stream) override;
  void concat_columns(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) override;
  void split_columns(Tensor a, Tensor b, const Tensor& in, Stream& stream) override;
  void add(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) override;
  void scale(Tensor x, double factor, Stream& stream) override;
  void add_bias(Tensor x_TO, const Tensor& b_O, Stream& stream) override;
  void bias_backward(Tensor db_O, const Tensor& dy_TO, Stream& stream) override;
  void swiglu_forward(Tensor y_TF, const Tensor& gate_TF, const Tensor& up_TF, Stream& stream) override;
  void swiglu_backward(Tensor dgate_TF, Tensor dup_TF, const Tensor& dy_TF, const Tensor& gate_TF, const Tensor& up_TF,
                       Stream& stream) override;
  void gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, bool accumulate,
            Stream& stream) override;
  void gemm_bias(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, const Tensor& b_O, Stream& stream) override;
  void grouped_gemm(Tensor y_RO, const Tensor& x_RI, const Tensor& w_EOI, const Tensor& offsets_E1,
                    Stream& stream) override;
  void grouped_gemm_backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& w_EOI, const Tensor& offsets_E1,
                                   bool accumulate, Stream& stream) override;
  void grouped_gemm_backward_weight(Tensor dw_EOI, const Tensor& dy_RO, const Tensor& x_RI, const Tensor& offsets_E1,
                                    Stream& stream) override;
  void quantize_fp8_rows(const Fp8Matrix& out, const Tensor& x_TI, Fp8Scaling scaling, Stream& stream) override;
  void dequantize_fp8_rows(Tensor x_TI, const Fp8Matrix& rows_TI, Stream& stream) override;
  void retile_fp8_columns(const Fp8Matrix& out, const Fp8Matrix& rows_TI, const Tensor& offsets_E1,
                          Stream& stream) override;
  void quantize_fp8_columns(const Fp8Matrix& out, const Tensor& x_TI, const Tensor& offsets_E1,
                            Stream& stream) override;
  void quantize_fp8_blocks(const Fp8Matrix& out, const Tensor& w, Transpose transpose, Stream& stream) override;
  void gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, Stream& stream) override;
  void grouped_gemm_fp8(Tensor y_RN, const Fp8Matrix& a_RK, const Fp8Matrix& b_ENK, const Tensor& offsets_E1,
                        bool accumulate, Stream& stream) override;
  void grouped_gemm_fp8_weight(Tensor dw_EMN, const Fp8Matrix& a_MS, const Fp8Matrix& b_NS, const Tensor& offsets_E1,
                               Stream& stream) override;
  void rms_norm_forward(Tensor y_TD, Tensor rstd_T, const Tensor& x_TD, const Tensor& w_D, double eps,
                        Stream& stream) override;
  void rms_norm_backward_input(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& w_D,
                               const Tensor& rstd_T, const Tensor& dresidual_TD, Stream& stream) override;
  void rms_norm_backward_weight(Tensor dw_D, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                                Stream& stream) override;
  void rope(Tensor x_TC, const Tensor& positions_T, const Tensor& cos_PR, const Tensor& sin_PR, const RopeArgs& args,
            Stream& stream) override;
  void mla_assemble_kv(Tensor k, Tensor v, const Tensor& kv, const Tensor& k_pe, std::int64_t num_heads,
                       Stream& stream) override;
  void mla_assemble_kv_backward(Tensor dkv, Tensor dk_pe, const Tensor& dk, const Tensor& dv, std::int64_t num_heads,
                                Stream& stream) override;
  void attention_forward(Tensor o, Tensor lse_TH, const Tensor& q, const Tensor& k, const Tensor& v,
                         const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args,
                         Stream& stream) override;
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, const Tensor& d_o, const Tensor& q, const Tensor& k,
                          const Tensor& v, const Tensor& o, const Tensor& lse_TH, const Tensor& key_begin_T,
                          const Tensor& key_end_T, const AttentionArgs& args, Stream& stream) override;
  void attention_cached(Tensor o, const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& pages_SP,
                        const Tensor& slots_R, const Tensor& lengths_R, std::int64_t page_rows,
                        const AttentionArgs& args, Stream& stream) override;
  void per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                     std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream) override;
  void router_forward(Tensor scores_TE, Tensor expert_ids_TK, Tensor weights_TK, const Tensor& logits_TE,
                      const Tensor& bias_E, const RouterArgs& args, Stream& stream) override;
  void router_backward(Tensor dlogits_TE, const Tensor& dweights_TK, const Tensor& dscores_TE, const Tensor& scores_TE,
                       const Tensor& expert_ids_TK, const RouterArgs& args, Stream& stream) override;
  void sequence_balance_loss(Tensor loss_1, Tensor dscores_TE, const Tensor& scores_TE, std::int64_t top_k,
                             std::int64_t tokens_per_sequence, double alpha, double loss_scale,
                             Stream& stream) override;
  void count_experts(Tensor counts_E, const Tensor& expert_ids_TK, Stream& stream) override;
  void router_bias_update(Tensor bias_E, const Tensor& counts_E, double speed, Stream& stream) override;
  void sort_by_expert(Tensor pair_of_R, Tensor row_of_TK, Tensor offsets_E1, const Tensor& expert_ids_TK,
                      Stream& stream) override;
  void permute_rows(Tensor y_RD, const Tensor& x_TD, const Tensor& pair_of_R, std::int64_t top_k,
                    Stream& stream) override;
  void unpermute_rows(Tensor y_TD, const Tensor& x_RD, const Tensor& row_of_TK, const Tensor& weights_TK,
                      bool accumulate, Stream& stream) override;
  void unpermute_rows_backward(Tensor dx_RD, Tensor dweights_TK, const Tensor& dy_TD, const Tensor& x_RD,
                               const Tensor& row_of_TK, const Tensor& weights_TK, Stream& stream) override;
  void pack_fp8_rows(Tensor out_TP, const Fp8Matrix& x_TD, Stream& stream) override;
  void permute_fp8_rows(const Fp8Matrix& y_RD, const Tensor& x_TP, const Tensor& pair_of_R, std::int64_t top_k,
                        Stream& stream) override;
  void unpermute_fp8_rows_backward(const Fp8Matrix& dx_RD, Tensor dweights_TK, const Tensor& dy_TP, const Tensor& x_RD,
                                   const Tensor& row_of_TK, const Tensor& weights_TK, Stream& stream) override;
  void cross_entropy(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& targets_T,
                     const Tensor& loss_weights_T, Stream& stream) override;
  void distillation(Tensor losses_T, Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& teacher_logits_TV,
                    const Tensor& loss_weights_T, bool reverse, Stream& stream) override;
  void cross_entropy_part(Tensor part_T2, const Tensor& logits_TV, const Tensor& local_targets_T,
                          Stream& stream) override;
  void cross_entropy_merge(Tensor losses_T, Tensor lse_T, const Tensor& parts_PT2, const Tensor& loss_weights_T,
                           Stream& stream) override;
  void cross_entropy_part_backward(Tensor dlogits_TV, const Tensor& logits_TV, const Tensor& lse_T,
                                   const Tensor& local_targets_T, const Tensor& loss_weights_T,
                                   Stream& stream) override;
  void policy_gradient(Tensor weights_T, Tensor sums_8, const Tensor& losses_T, const Tensor& old_logprobs_T,
                       const Tensor& ref_logprobs_T, const Tensor& advantages_T, const Tensor& loss_weights_T,
                       const Tensor& sequence_ids_T, const PolicyGradientArgs& args, Stream& stream) override;
  void pairwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& pairs_P2,
                           const Tensor& margins_P, const Tensor& weights_P, double centering, Stream& stream) override;
  void pointwise_preference(Tensor dscores_N, Tensor sums_8, const Tensor& scores_N, const Tensor& labels_N,
                            const Tensor& weights_N, Stream& stream) override;
  void value_regression(Tensor dvalues_T, Tensor sums_8, const Tensor& values_T, const Tensor& old_values_T,
                        const Tensor& returns_T, const Tensor& weights_T, double clip, Stream& stream) override;
  void weighted_sum(Tensor out_1, const Tensor& a_T, const Tensor& b_T, Stream& stream) override;
  void sum_squares(Tensor out_1, const Tensor& x, Stream& stream) override;
  void count_nonfinite(Tensor out_1, const Tensor& x, Stream& stream) override;
  void adamw(Tensor weight, Tensor master, Tensor m, Tensor v, const Tensor& grad, double grad_scale,
             const AdamWArgs& args, Stream& stream) override;
  void sample(Tensor ids_R, Tensor logprobs_R, const Tensor& logits_RV, const Tensor& keys_R, std::uint64_t seed,
              const SamplingArgs& args, Stream& stream) override;
  void cache_rows(Tensor rows_R, const Tensor& pages_SP, const Tensor& slots_R, const Tensor& positions_R,
                  const Tensor& lengths_R, std::int64_t page_rows, Stream& stream) override;
  void sampling_keys(Tensor keys_R, const Tensor& prompts_R, const Tensor& siblings_R, const Tensor& counts_R,
                     Stream& stream) override;
  void advance_rows(const WrittenRows& rows, Tensor tokens_NR, Tensor logprobs_NR, Tensor step_1, const Tensor& ids_R,
                    const Tensor& logprobs_R, const Tensor& stop_ids_S, std::int64_t most_tokens,
                    Stream& stream) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace athanor::cuda
