#include "src/model/chunk.hpp"

namespace athanor {

void zero_sums(StepSums& sums, Backend& ops, Stream& stream) {
  ops.fill(sums.loss_1, 0.0, stream);
  ops.fill(sums.mtp_loss_1, 0.0, stream);
  ops.fill(sums.balance_loss_1, 0.0, stream);
  if (sums.policy_8.defined()) ops.fill(sums.policy_8, 0.0, stream);
  if (sums.scalar_8.defined()) ops.fill(sums.scalar_8, 0.0, stream);
  for (Tensor& counts_E : sums.expert_counts_E) ops.fill(counts_E, 0.0, stream);
}

}  // namespace athanor
