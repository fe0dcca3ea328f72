#include "src/loss/token_cross_entropy.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

using testing::LayerBench;

constexpr std::int64_t kTokens = 300, kVocab = 11, kDim = 5;  // 300 rows: three chunks of at least 128

struct LossBench {
  LayerBench bench{{.num_sequences = 3, .tokens_per_sequence = 100, .vocab_size = kVocab}};
  LmHead head{"head.weight", DType::f64, kVocab, kDim, 0.1};
  TokenCrossEntropy loss{head, 1};
  Tensor h = bench.random({kTokens, kDim}, 1);
  Tensor loss_1 = bench.ops().empty({1}, DType::f64);

  LossBench() {
    bench.give_parameters(head.parameters());
    bench.ops().fill(loss_1, 0.0, bench.stream());
  }
  Tensor run(ExecContext& ctx, TokenCrossEntropy::Saved& saved) {
    return loss.forward(ctx, h, bench.batch().targets_T, bench.batch().loss_weights_T, loss_1, saved);
  }
};

// Promises: losses and their weighted sum over chunks are those of plain loops; a token of weight 0 costs nothing.
TEST(TokenCrossEntropyTest, EqualsPlainLoops) {
  LossBench setup;
  LayerBench& bench = setup.bench;
  TokenCrossEntropy::Saved unused;
  const std::vector<double> losses = bench.values(setup.run(bench.evaluation(), unused));
  const std::vector<double> h = bench.values(setup.h), w = bench.values(setup.head.parameters()[0]->weight);
  const std::vector<double> weights = bench.values(bench.batch().loss_weights_T);
  const auto targets = testing::download_integers<std::int32_t>(bench.ops(), bench.batch().targets_T, bench.stream());
  double sum = 0.0;
  for (std::size_t t = 0; t < kTokens; ++t) {
    double total = 0.0, at_target = 0.0;
    for (std::size_t v = 0; v < kVocab; ++v) {
      double logit = 0.0;
      for (std::size_t d = 0; d < kDim; ++d) logit += h[t * kDim + d] * w[v * kDim + d];
      total += std::exp(logit);
      if (static_cast<std::int32_t>(v) == targets[t]) at_target = logit;
    }
    const double wanted = weights[t] == 0.0 ? 0.0 : std::log(total) - at_target;
    EXPECT_NEAR(losses[t], wanted, 1e-12) << "token " << t;
    sum += weights[t] * wanted;
  }
  EXPECT_EQ(weights[99], 0.0);
  EXPECT_NEAR(bench.values(setup.loss_1)[0], sum, 1e-12);
  EXPECT_FALSE(unused.dh_TD.defined());
}

// Promises: the gradients that the training forward makes for hidden state and head are right, over chunks.
TEST(TokenCrossEntropyTest, Gradcheck) {
  LossBench setup;
  LayerBench& bench = setup.bench;
  TokenCrossEntropy::Saved saved;
  setup.run(bench.training(), saved);
  std::vector<testing::CheckedTensor> list = bench.checked(setup.head.parameters());
  list.push_back({"hidden", setup.h, bench.values(setup.loss.backward_input(saved))});
  EXPECT_FALSE(saved.dh_TD.defined());
  const auto loss = [&] {
    bench.ops().fill(setup.loss_1, 0.0, bench.stream());
    TokenCrossEntropy::Saved unused;
    setup.run(bench.evaluation(), unused);
    return bench.values(setup.loss_1)[0];
  };
  EXPECT_TRUE(testing::gradcheck(bench.ops(), bench.stream(), loss, list));
}

// Promises: the size of the chunks changes neither losses nor the hidden state's gradient.
TEST(TokenCrossEntropyTest, ChunksDoNotShow) {
  LossBench setup;
  LayerBench& bench = setup.bench;
  TokenCrossEntropy::Saved saved[2];
  const std::vector<double> losses = bench.values(setup.run(bench.training(), saved[0]));
  TokenCrossEntropy whole(setup.head);
  const Tensor losses_whole = whole.forward(bench.training(), setup.h, bench.batch().targets_T,
                                            bench.batch().loss_weights_T, setup.loss_1, saved[1]);
  EXPECT_LT(testing::relative_difference(losses, bench.values(losses_whole)), 1e-13);
  EXPECT_LT(testing::relative_difference(bench.values(saved[0].dh_TD), bench.values(saved[1].dh_TD)), 1e-13);
}

}  // namespace
}  // namespace athanor
