// Router of a mixture of experts: which K of E experts serve a token, with which weight. Source: DeepSeek-V3 report,
// eq. 12-16 (sigmoid scores, selection bias, group-limited choice) and eq. 17-20 (sequence-wise balance loss); V2's
// softmax gate by configuration.
// Law: logits, scores and weights are in the accumulation type whatever the compute type, and so is the parameter. The
// bias steers the choice only; it is state, moved after each optimizer step by the counts, and has no gradient. Experts
// are counted in the training forward, once a micro-batch. Every rank of tp and cp routes its own tokens; the balance
// loss looks at whole sequences, so their scores are gathered and every rank has the same loss. x is kept for backward
// as it came, in the compute type.
#pragma once

#include <string>
#include <vector>

#include "src/nn/expert_dispatcher.hpp"
#include "src/nn/linear.hpp"

namespace athanor {

struct RouterConfig {
  RouterArgs args;
  std::int64_t dim = 0;
  double balance_loss_alpha = 0.0;  ///< 0: no balance loss
  double init_std = 0.006;
};

class Router {
 public:
  struct Saved {
    Linear::Saved weight;
    Tensor scores_TE, expert_ids_TK;
    Tensor dscores_TE;  ///< gradient of the balance loss; undefined without it
  };

  /// Parameter prefix + ".weight" [E,D], state prefix + ".bias" [E], both of type `acc`.
  Router(Backend& ops, const std::string& prefix, DType acc, const RouterConfig& config, Stream& stream,
         const ParallelRanks& ranks = {});

  /// Where the training forward adds its numbers. Views of the model's sums; set before the first training forward.
  void set_sums(Tensor balance_loss_1, Tensor expert_counts_E);

  Routing forward(ExecContext& ctx, const Tensor& x_TD, Saved& saved);
  /// dx_TD += the gradient of x from that of the routing weights and of the balance loss.
  void backward_input_into(ExecContext& ctx, const Tensor& dweights_TK, Tensor dx_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters() { return weight_ED_.parameters(); }
  StateTensor& bias() { return bias_E_; }

 private:
  void add_balance_loss(ExecContext& ctx, Saved& saved);

  RouterConfig config_;
  ParallelRanks ranks_;
  Linear weight_ED_;
  StateTensor bias_E_;
  Tensor balance_loss_1_, expert_counts_E_;
};

}  // namespace athanor
