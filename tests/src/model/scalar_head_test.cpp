// A model with a scalar head: the same layers, one number a token.
#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/model/flop_count.hpp"
#include "src/model/parameter_count.hpp"
#include "src/model/parameter_names.hpp"
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

using testing::ModelBench;

/// A micro-batch of three compared answers, read at the ends of its rows and within.
MicroBatch compared(ModelBench& bench) {
  MicroBatch batch = bench.batch();
  const auto acc = accumulation_dtype(bench.model().dtype());
  const auto ids = [&](const std::vector<std::int32_t>& values, const Shape& shape) {
    return upload_vector<std::int32_t>(bench.ops(), values, shape, bench.stream());
  };
  MicroBatch::PreferenceRows rows;
  rows.places_N = ids({2, 5, 11}, {3});
  rows.pairs_P2 = ids({0, 1, 0, 2, 2, 1}, {3, 2});
  rows.pair_weights_P = testing::tensor_of(bench.ops(), {0.5, 0.3, 0.2}, {3}, acc, bench.stream());
  rows.centering = 0.05;
  batch.preference = rows;
  return batch;
}

// Promise: for every family the page of names is what the model registers, and the count adds up to it.
TEST(ScalarHead, NamesAndCounts) {
  for (const auto& [family, tokens] : testing::toy_models()) {
    const ModelConfig config = with_scalar_head(tokens);
    ModelBench bench(config);
    std::vector<std::string> wanted, found;
    for (const LogicalTensor& tensor : logical_tensors(config))
      if (tensor.kind != LogicalTensor::Kind::router_bias) wanted.push_back(tensor.name + tensor.shape.to_string());
    for (const Parameter* parameter : bench.model().parameters())
      found.push_back(parameter->name() + parameter->spec.global.to_string());
    EXPECT_EQ(found, wanted) << family;
    std::int64_t states = 0;
    if (config.router_sigmoid)
      for (const StateTensor* state : bench.model().states()) states += state->tensor.numel();
    EXPECT_EQ(parameter_count(config).total, bench.store().numel() + states) << family;
    EXPECT_LT(forward_flops_per_token(config, 8), forward_flops_per_token(tokens, 8)) << family;
    EXPECT_EQ(held_tensors(config, DType::f64, whole_model(config), {}).size(), found.size());
  }
}

// Promise: the gradient of the preference loss reaches every parameter of a whole mixture of experts and of a dense
// model whose token head would be tied.
TEST(ScalarHead, GradcheckOfWholeModels) {
  for (const char* family : {"deepseek_v3", "qwen2"}) {
    ModelBench bench(with_scalar_head(testing::toy_models().at(family)));
    const MicroBatch batch = compared(bench);
    bench.clear();
    bench.train(batch);
    std::vector<testing::CheckedTensor> list;
    for (const Parameter* parameter : bench.store().parameters()) {
      const std::string& name = parameter->name();
      if (name == "embedding.weight" || name == "final_norm.weight" || name.starts_with("value_head") ||
          name == "layers.0.attention.w_o" || name == "layers.1.ffn.w_up" || name == "layers.1.moe.experts.w_gate")
        list.push_back({name, parameter->weight, bench.values(parameter->grad)});
    }
    const auto loss = [&] {
      bench.clear();
      bench.train(batch);
      return bench.values(bench.model().sums().scalar_8)[kPreferenceLoss] + bench.total_loss();
    };
    EXPECT_TRUE(testing::gradcheck(bench.ops(), bench.stream(), loss, list, {.max_elements = 8})) << family;
  }
}

// Promise: values are those of the training forward, what asks for tokens is refused, and so are MTP modules.
TEST(ScalarHead, GivesValuesAndNoTokens) {
  ModelConfig config = testing::toy_llama();
  ModelBench policy(config), bench(with_scalar_head(config));
  const MicroBatch batch = compared(bench);
  ExecContext look = bench.evaluation(batch);
  const auto values = bench.values(bench.model().values(look));
  EXPECT_EQ(values.size(), 12U);
  bench.clear();
  bench.train(batch);
  const auto sums = bench.values(bench.model().sums().scalar_8);
  EXPECT_NEAR(sums[kPreferenceGoodScore], values[2] + values[2] + values[11], 1e-12);
  EXPECT_EQ(bench.model().first_nonfinite_layer(look), "");
  EXPECT_THROW(bench.model().token_losses(look), Error);
  EXPECT_THROW(bench.model().logits(look), Error);
  ExecContext tokens = policy.evaluation(batch);
  EXPECT_THROW(policy.model().values(tokens), Error);
  config = with_scalar_head(config);
  config.mtp_depth = 1;
  EXPECT_THROW(config.validate(), ConfigError);
  EXPECT_THROW((LayoutSizes{.cp = 2}.validate(with_scalar_head(testing::toy_llama()))), ConfigError);
}

}  // namespace
}  // namespace athanor
