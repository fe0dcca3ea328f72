// Language-model head: logits_TV = h_TD * w_VD^T. Law: the weight is its own parameter or, tied, the embedding's.
// Logits are in the accumulation type. Training never sees them whole: src/loss walks the head in chunks of rows.
#pragma once

#include <string>
#include <vector>

#include "src/nn/exec_context.hpp"

namespace athanor {

class LmHead {
 public:
  /// A head of its own.
  LmHead(std::string weight_name, DType dtype, std::int64_t vocab_size, std::int64_t dim, double init_std);
  /// A head that shares `tied` (which must outlive it) with the embedding.
  explicit LmHead(Parameter& tied);
  LmHead(const LmHead&) = delete;
  LmHead& operator=(const LmHead&) = delete;

  /// logits (acc) of the given rows.
  void logits_into(ExecContext& ctx, const Tensor& h_TD, Tensor logits_TV);
  Tensor logits(ExecContext& ctx, const Tensor& h_TD);
  /// dh and dW += of the given rows; dlogits in the compute type.
  void backward(ExecContext& ctx, const Tensor& dlogits_TV, const Tensor& h_TD, Tensor dh_TD);

  /// Its own parameter; none when tied.
  std::vector<Parameter*> parameters();
  std::int64_t vocab_size() const { return weight_VD_->spec.extent[0]; }

 private:
  Parameter own_;
  Parameter* weight_VD_;
};

}  // namespace athanor
