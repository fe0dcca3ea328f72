// Language-model head: logits_TV = h_TD * w_VD^T. Law: the weight is its own parameter or, tied, the embedding's.
// Cut over tp by rows of the vocabulary: V is what this rank holds. Logits are in the accumulation type. Training never
// sees them whole: src/loss walks the head in chunks of rows.
#pragma once

#include <string>
#include <vector>

#include "src/nn/parallel_ranks.hpp"

namespace athanor {

class LmHead {
 public:
  /// A head of its own.
  LmHead(std::string weight_name, DType dtype, std::int64_t vocab_size, std::int64_t dim, double init_std,
         const ParallelRanks& ranks = {});
  /// A head that shares `tied` (which must outlive it) with the embedding.
  explicit LmHead(Parameter& tied, const ParallelRanks& ranks = {});
  LmHead(const LmHead&) = delete;
  LmHead& operator=(const LmHead&) = delete;

  /// logits (acc) of the given rows.
  void logits_into(ExecContext& ctx, const Tensor& h_TD, Tensor logits_TV);
  Tensor logits(ExecContext& ctx, const Tensor& h_TD);
  /// The logits of the whole vocabulary on every rank of tp. Collective over tp.
  Tensor whole_logits(ExecContext& ctx, const Tensor& h_TD);
  /// This rank's columns of logits (or their gradients) of the whole vocabulary; whole_TV itself where tp is one rank.
  Tensor own_columns(ExecContext& ctx, const Tensor& whole_TV) const;
  /// dh and dW += of the given rows; dlogits in the compute type.
  void backward(ExecContext& ctx, const Tensor& dlogits_TV, const Tensor& h_TD, Tensor dh_TD);

  /// Its own parameter; none when tied.
  std::vector<Parameter*> parameters();
  /// Rows of the vocabulary held here, and the first of them.
  std::int64_t vocab_size() const { return weight_VD_->spec.extent[0]; }
  std::int64_t first_token() const { return weight_VD_->spec.offset[0]; }
  const ParallelRanks& ranks() const { return ranks_; }

 private:
  Parameter own_;
  Parameter* weight_VD_;
  ParallelRanks ranks_;
};

}  // namespace athanor
