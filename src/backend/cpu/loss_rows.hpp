// What the losses over logits ask of their operands.
#pragma once

#include "src/backend/cpu/kernel.hpp"

namespace athanor::cpu {

/// One loss and one weight a token, of the logits' accumulation type; a gradient, where there is one, like the logits.
/// @param call  names the operation. @throws Error
inline void require_loss_rows(const char* call, const Tensor& losses_T, const Tensor& loss_weights_T,
                              const Tensor& logits_TV, const Tensor& dlogits_TV) {
  const std::int64_t tokens = logits_TV.shape().flat_rows();
  const DType acc = accumulation_dtype(logits_TV.dtype());
  require(losses_T.numel() == tokens && losses_T.dtype() == acc, call, "one loss a token, of the accumulation type",
          losses_T, logits_TV);
  require(loss_weights_T.numel() == tokens && loss_weights_T.dtype() == acc, call,
          "one weight a token, of the accumulation type", loss_weights_T, logits_TV);
  if (dlogits_TV.defined())
    require(dlogits_TV.numel() == logits_TV.numel() && dlogits_TV.dtype() == logits_TV.dtype(), call,
            "a gradient like the logits", dlogits_TV, logits_TV);
}

}  // namespace athanor::cpu
