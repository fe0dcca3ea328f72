// Token embedding x_TD = w_VD[tokens_T]. Law: it has no input gradient; backward_weight adds the rows of dy to the
// gradient of the tokens seen. Cut over tp by rows of the vocabulary: every rank looks up what it holds of all T tokens
// and receives the sum for its own tokens. With a tied head the same parameter also receives the head's gradient.
#pragma once

#include <string>
#include <vector>

#include "src/nn/parallel_ranks.hpp"

namespace athanor {

class Embedding {
 public:
  struct Saved {
    Tensor tokens_T;  ///< ids of the rows held here; from forward to backward_weight
    Tensor dy_TD;     ///< of all T tokens; from backward_input to backward_weight
  };

  Embedding(std::string weight_name, DType dtype, std::int64_t vocab_size, std::int64_t dim, double init_std,
            const ParallelRanks& ranks = {});

  Tensor forward(ExecContext& ctx, const Tensor& tokens_T, Saved& saved);
  /// Keeps dy for backward_weight. @returns no tensor: token ids have no gradient.
  Tensor backward_input(ExecContext& ctx, const Tensor& dy_TD, Saved& saved);
  void backward_weight(ExecContext& ctx, Saved& saved);
  std::vector<Parameter*> parameters() { return {&weight_VD_}; }
  Parameter& weight() { return weight_VD_; }

 private:
  Parameter weight_VD_;
  ParallelRanks ranks_;
};

static_assert(Layer<Embedding>);

}  // namespace athanor
