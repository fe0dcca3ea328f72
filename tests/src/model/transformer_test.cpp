#include "src/model/transformer.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

using testing::ModelBench;

class EveryFamily : public ::testing::TestWithParam<std::string> {
 protected:
  ModelConfig config_ = testing::toy_models().at(GetParam());
};

// Promises: the gradient of the whole loss (main, MTP, balance) is right for every parameter of every family, with
// documents that do not see each other.
TEST_P(EveryFamily, Gradcheck) {
  ModelBench bench(config_);
  const MicroBatch batch = bench.batch({.num_sequences = 2, .tokens_per_sequence = 12, .split_documents = true});
  bench.train(batch);
  std::vector<testing::CheckedTensor> list;
  for (const Parameter* p : bench.store().parameters()) list.push_back({p->name(), p->weight, bench.values(p->grad)});
  ExecContext ctx = bench.training(batch);
  const auto loss = [&] {
    zero_sums(bench.model().sums(), bench.ops(), bench.stream());
    bench.model().forward(ctx, 1, {});
    return bench.total_loss();
  };
  EXPECT_TRUE(testing::gradcheck(bench.ops(), bench.stream(), loss, list, {.max_elements = 4}));
}

// Promises: two micro-batches in flight, with F F I I W W, give the losses and gradients of one after the other.
TEST_P(EveryFamily, TwoMicroBatchesInFlight) {
  ModelBench bench(config_);
  const MicroBatch batches[2] = {bench.batch({.seed = 1, .global_tokens = 20.0}),
                                 bench.batch({.split_documents = true, .seed = 2, .global_tokens = 20.0})};
  for (int m = 0; m < 2; ++m) bench.train(batches[m]);
  const std::vector<double> losses = bench.losses();
  const std::vector<std::vector<double>> gradients = bench.gradients();
  bench.clear();

  ExecContext ctx[2] = {bench.training(batches[0]), bench.training(batches[1])};
  for (int m = 0; m < 2; ++m) bench.model().forward(ctx[m], m, {});
  for (int m = 0; m < 2; ++m) bench.model().backward_input(ctx[m], m, {});
  for (int m = 1; m >= 0; --m) bench.model().backward_weight(ctx[m], m);
  EXPECT_LT(testing::relative_difference(bench.losses(), losses), 1e-14);
  const std::vector<std::vector<double>> in_flight = bench.gradients();
  for (std::size_t i = 0; i < gradients.size(); ++i)
    EXPECT_LT(testing::relative_difference(in_flight[i], gradients[i]), 1e-12) << bench.store().parameters()[i]->name();
}

// Promises: B, which goes through the layers once, gives the bits of I and W one after the other, needs less memory
// than they do, and keeps nothing.
TEST_P(EveryFamily, BackwardAtOnce) {
  ModelBench bench(config_);
  const MicroBatch batch = bench.batch();
  const std::size_t before = bench.ops().arena().statistics().in_use_bytes;
  const auto peak_of = [&](const auto& backward) {
    ExecContext ctx = bench.training(batch);
    bench.clear();
    bench.model().forward(ctx, 0, {});
    bench.ops().arena().reset_peak();
    backward(ctx);
    return bench.ops().arena().statistics().peak_in_use_bytes;
  };
  const std::size_t apart = peak_of([&](ExecContext& ctx) {
    bench.model().backward_input(ctx, 0, {});
    bench.model().backward_weight(ctx, 0);
  });
  const std::vector<std::vector<double>> gradients = bench.gradients();

  const std::size_t at_once = peak_of([&](ExecContext& ctx) { bench.model().backward(ctx, 0, {}); });

  EXPECT_EQ(bench.gradients(), gradients);
  EXPECT_LT(at_once, apart);
  EXPECT_EQ(bench.ops().arena().statistics().in_use_bytes, before);
}

// Promises: training keeps nothing once W is done, and evaluation keeps nothing at all: the arena is back where it was.
TEST_P(EveryFamily, FreesWhatItKept) {
  ModelBench bench(config_);
  const MicroBatch batch = bench.batch();
  const std::size_t before = bench.ops().arena().statistics().in_use_bytes;
  ExecContext ctx = bench.training(batch);
  bench.model().forward(ctx, 0, {});
  const std::size_t after_forward = bench.ops().arena().statistics().in_use_bytes;
  bench.model().backward_input(ctx, 0, {});
  bench.model().backward_weight(ctx, 0);
  EXPECT_GT(after_forward, before);
  EXPECT_EQ(bench.ops().arena().statistics().in_use_bytes, before);
  ExecContext look = bench.evaluation(batch);
  bench.model().forward(look, 0, {});
  bench.model().token_losses(look);
  EXPECT_EQ(bench.ops().arena().statistics().in_use_bytes, before);
}

// Promises: evaluation gives the training forward's loss, its token losses sum to it, and logits agree with them.
TEST_P(EveryFamily, EvaluationEqualsTraining) {
  ModelBench bench(config_);
  const MicroBatch batch = bench.batch();
  ExecContext training = bench.training(batch), look = bench.evaluation(batch);
  bench.model().forward(training, 0, {});
  const std::vector<double> trained = bench.losses();
  bench.clear();
  bench.model().forward(look, 0, {});
  const std::vector<double> evaluated = bench.losses();
  EXPECT_EQ(evaluated[0], trained[0]);
  EXPECT_EQ(evaluated[1], trained[1]);
  EXPECT_EQ(evaluated[2], 0.0);

  const std::vector<double> losses = bench.values(bench.model().token_losses(look));
  const std::vector<double> logits = bench.values(bench.model().logits(look));
  const std::vector<double> weights = bench.values(batch.loss_weights_T);
  const auto targets = testing::download_integers<std::int32_t>(bench.ops(), batch.targets_T, bench.stream());
  const auto vocab = static_cast<std::size_t>(config_.vocab_size);
  double sum = 0.0;
  for (std::size_t t = 0; t < losses.size(); ++t) {
    sum += weights[t] * losses[t];
    if (weights[t] == 0.0) continue;
    double total = 0.0;
    for (std::size_t v = 0; v < vocab; ++v) total += std::exp(logits[t * vocab + v]);
    EXPECT_NEAR(losses[t], std::log(total) - logits[t * vocab + static_cast<std::size_t>(targets[t])], 1e-12);
  }
  EXPECT_NEAR(sum, trained[0], 1e-13);
}

// Promises: the guarded device, where memory is closed outside operations and work runs late, gives the same bits.
TEST_P(EveryFamily, GuardedDeviceGivesTheSameBits) {
  ModelBench plain(config_, DType::f32), guarded(config_, DType::f32, "cpu-guarded");
  for (ModelBench* bench : {&plain, &guarded}) {
    const MicroBatch batch = bench->batch();
    bench->train(batch);
    bench->stream().synchronize();
  }
  EXPECT_EQ(plain.losses(), guarded.losses());
  EXPECT_EQ(plain.gradients(), guarded.gradients());
}

// Promises: bf16 training follows f32: 8 bits of mantissa through a few layers leave losses within 2 % and gradients
// within a few percent of their norm.
TEST_P(EveryFamily, Bf16StaysClose) {
  config_.num_routed_experts = 0;  // a choice of experts is not continuous: two precisions may choose differently
  ModelBench exact(config_, DType::f32), rounded(config_, DType::bf16);
  for (std::size_t i = 0; i < exact.store().parameters().size(); ++i)  // the same weights, exactly
    exact.ops().copy(exact.store().parameters()[i]->weight, rounded.store().parameters()[i]->weight, exact.stream());
  for (ModelBench* bench : {&exact, &rounded}) bench->train(bench->batch({.tokens_per_sequence = 16}));
  EXPECT_NEAR(rounded.total_loss() / exact.total_loss(), 1.0, 0.02);
  double difference = 0.0, norm = 0.0;
  const auto a = exact.gradients(), b = rounded.gradients();
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < a[i].size(); ++j) {
      difference += (a[i][j] - b[i][j]) * (a[i][j] - b[i][j]);
      norm += a[i][j] * a[i][j];
    }
  EXPECT_LT(std::sqrt(difference / norm), 0.05);
}

// Promises: weight that is not finite is found, and the layer that feels it first is named.
TEST_P(EveryFamily, NamesTheLayerThatIsNotFinite) {
  ModelBench bench(config_);
  const MicroBatch batch = bench.batch();
  ExecContext ctx = bench.training(batch);
  EXPECT_EQ(bench.model().first_nonfinite_layer(ctx), "");
  EXPECT_EQ(bench.model().first_nonfinite_parameter(ctx), "");
  for (Parameter* parameter : bench.store().parameters()) {
    if (parameter->name() != "layers.1.attention.w_o") continue;
    bench.ops().fill(parameter->weight, NAN, bench.stream());
  }
  EXPECT_EQ(bench.model().first_nonfinite_layer(ctx), "layers.1.attention");
  EXPECT_EQ(bench.model().first_nonfinite_parameter(ctx), "layers.1.attention.w_o");
}

INSTANTIATE_TEST_SUITE_P(Toys, EveryFamily, ::testing::ValuesIn(testing::toy_model_names()),
                         [](const auto& info) { return info.param; });

// Promises: every token of a training forward is counted once for each of its experts, in every MoE layer, MTP's too.
TEST(TransformerTest, CountsExperts) {
  ModelConfig config = testing::toy_deepseek_v3();
  config.mtp_depth = 1;
  ModelBench bench(config);
  const MicroBatch batch = bench.batch();
  bench.train(batch);
  const StepSums& sums = bench.model().sums();
  ASSERT_EQ(sums.expert_counts_E.size(), 3u);
  ASSERT_EQ(bench.model().states().size(), 3u);
  EXPECT_EQ(bench.model().states()[0]->spec.name, "layers.1.moe.router.bias");
  EXPECT_EQ(bench.model().states()[2]->spec.name, "mtp.0.block.moe.router.bias");
  for (const Tensor& counts_E : sums.expert_counts_E) {
    std::int64_t total = 0;
    for (const std::int64_t count : testing::download_integers<std::int64_t>(bench.ops(), counts_E, bench.stream()))
      total += count;
    EXPECT_EQ(total, 12 * config.experts_per_token);
  }
}

// Promises: bad batches are refused with what was wanted and found.
TEST(TransformerTest, RefusesImpossibleBatches) {
  ModelConfig config = testing::toy_deepseek_v3();
  config.max_positions = 8;
  ModelBench bench(config);
  const MicroBatch too_long = bench.batch({.tokens_per_sequence = 9});
  ExecContext ctx = bench.training(too_long);
  EXPECT_THROW(bench.model().forward(ctx, 0, {}), ConfigError);

  MicroBatch with_mtp = bench.batch();
  with_mtp.mtp.resize(1);
  ExecContext other = bench.training(with_mtp);
  EXPECT_THROW(bench.model().forward(other, 0, {}), Error);
  const MicroBatch good = bench.batch();
  ExecContext training = bench.training(good);
  EXPECT_THROW(bench.model().logits(training), Error);
}

}  // namespace
}  // namespace athanor
