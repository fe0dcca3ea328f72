// The scalar head: gradients against differences, a case by hand, and what it keeps in which type.
#include "src/nn/value_head.hpp"

#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

using testing::LayerBench;

// Promise: the gradients of input, weight and bias are those of the values.
TEST(ValueHead, Gradcheck) {
  LayerBench bench;
  ValueHead head(DType::f64, 7);
  EXPECT_TRUE(bench.check_layer(head, {bench.tokens(), 7}));
}

// Promise: values are h w + b, worked out by hand.
TEST(ValueHead, ByHand) {
  LayerBench bench;
  ValueHead head(DType::f64, 2);
  ParameterStore store(bench.ops(), head.parameters(), {}, bench.stream());
  testing::upload_doubles(bench.ops(), head.parameters()[0]->weight, {2.0, -1.0}, bench.stream());
  testing::upload_doubles(bench.ops(), head.parameters()[1]->weight, {0.5}, bench.stream());
  const Tensor h_TD = testing::tensor_of(bench.ops(), {1, 2, 3, 4, 0, 0}, {3, 2}, DType::f64, bench.stream());
  ValueHead::Saved saved;
  const Tensor values_T1 = head.forward(bench.evaluation(), h_TD, saved);
  EXPECT_EQ(bench.values(values_T1), (std::vector<double>{0.5, 2.5, 0.5}));
  EXPECT_FALSE(saved.linear.x_TI.defined());
}

// Promise: with bf16 activations weight, bias and values stay in f32, and the gradient goes back in bf16.
TEST(ValueHead, KeepsItsPrecision) {
  LayerBench bench;
  ValueHead head(DType::bf16, 4);
  ParameterStore store(bench.ops(), head.parameters(), {}, bench.stream());
  store.initialize(1, bench.stream());
  for (const Parameter* parameter : head.parameters()) EXPECT_EQ(parameter->weight.dtype(), DType::f32);
  ExecContext ctx{bench.ops(), bench.stream(), bench.stream(), bench.batch(), DType::bf16, true};
  const Tensor h_TD =
      testing::tensor_of(bench.ops(), std::vector<double>(12, 1.0), {3, 4}, DType::bf16, bench.stream());
  ValueHead::Saved saved;
  const Tensor values_T1 = head.forward(ctx, h_TD, saved);
  EXPECT_EQ(values_T1.dtype(), DType::f32);
  EXPECT_EQ(head.backward_input(ctx, values_T1, saved).dtype(), DType::bf16);
  head.backward_weight(ctx, saved);
}

}  // namespace
}  // namespace athanor
