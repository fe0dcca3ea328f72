#include "src/nn/parameter.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/support/gradcheck.hpp"

namespace athanor {
namespace {

class ParameterStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> ops_ = make_backend("cpu");
  std::unique_ptr<Stream> stream_ = ops_->make_stream();
  Parameter embedding_ = matrix_parameter("embedding.weight", DType::f32, {10, 7}, 0.02);
  Parameter norm_ = norm_parameter("norm.weight", DType::f32, 7);
  Parameter experts_ = matrix_parameter("experts.w_up", DType::f32, {2, 3, 7}, 0.02);
  Parameter bias_ = bias_parameter("b_q", DType::f32, 5);
  Parameter router_ = matrix_parameter("router.weight", DType::f64, {4, 7}, 0.02);

  std::vector<Parameter*> all() {
    experts_.group = GradientGroup::expert;
    return {&embedding_, &norm_, &experts_, &bias_, &router_};
  }
  std::vector<double> values(const Tensor& x) { return testing::download_doubles(*ops_, x, *stream_); }
};

// Promises: a group a (type, reduction) pair; members in reverse order of registration, aligned to 64 elements; buckets
// tile the group and split evenly among the ranks.
TEST_F(ParameterStoreTest, LaysParametersOutInGroupsAndBuckets) {
  ParameterStore store(*ops_, all(), {.pad_elements = 192, .bucket_elements = 60}, *stream_);

  ASSERT_EQ(store.groups().size(), 3u);  // f64 router, f32 dense, f32 experts
  const ParameterGroup& router = store.groups()[0];
  const ParameterGroup& dense = store.groups()[1];
  EXPECT_EQ(router.dtype, DType::f64);
  EXPECT_NE(dense.group, GradientGroup::expert);
  EXPECT_EQ(store.groups()[2].group, GradientGroup::expert);
  ASSERT_EQ(dense.members.size(), 3u);
  EXPECT_EQ(dense.members[0].parameter, &bias_);
  EXPECT_EQ(dense.members[1].parameter, &norm_);
  EXPECT_EQ(dense.members[2].parameter, &embedding_);
  // bias [0,5), norm [64,71): 71 >= 60 closes the first bucket at 192; the embedding fills the second.
  EXPECT_EQ(dense.members[1].begin, 64);
  EXPECT_EQ(dense.members[2].begin, 192);
  EXPECT_EQ(dense.members[2].end, 192 + 70);
  ASSERT_EQ(dense.buckets.size(), 2u);
  EXPECT_EQ(dense.buckets[0].end, 192);
  EXPECT_EQ(dense.buckets[1].begin, 192);
  EXPECT_EQ(dense.buckets[1].end, 384);
  EXPECT_EQ(dense.weight.numel(), 384);
  EXPECT_EQ(dense.grad.numel(), 384);
  EXPECT_EQ(store.numel(), 70 + 7 + 42 + 5 + 28);
}

// Promises: a parameter cut down to some rows is drawn as those rows of the whole one, whether they are one range (one
// rectangle) or not (a rectangle a row, and no gradients); rows that do not exist are refused.
TEST_F(ParameterStoreTest, HoldsSomeRows) {
  using Rows = std::vector<std::int64_t>;
  Parameter whole = matrix_parameter("w", DType::f32, {4, 3, 5}, 1.0), range = whole, placed = whole;
  hold_rows(range, {1, 2});
  hold_rows(placed, {3, 0, 3});
  ParameterStore of_whole(*ops_, {&whole}, {}, *stream_), of_range(*ops_, {&range}, {}, *stream_);
  EXPECT_THROW(ParameterStore(*ops_, {&placed}, {}, *stream_), Error);
  ParameterStore of_placed(*ops_, {&placed}, {.with_gradients = false}, *stream_);
  for (ParameterStore* store : {&of_whole, &of_range, &of_placed}) store->initialize(3, *stream_);

  const std::vector<double> all = values(whole.weight);
  const auto rows = [&](const Rows& wanted) {
    std::vector<double> list;
    for (const std::int64_t row : wanted) list.insert(list.end(), all.begin() + 15 * row, all.begin() + 15 * (row + 1));
    return list;
  };
  EXPECT_EQ(values(range.weight), rows({1, 2}));
  EXPECT_EQ(values(placed.weight), rows({3, 0, 3}));
  EXPECT_EQ(range.shards().size(), 1u);
  EXPECT_EQ(range.spec.box(), (Box{{1, 0, 0}, {2, 3, 5}}));
  ASSERT_EQ(placed.shards().size(), 3u);
  EXPECT_EQ(placed.shards()[2].spec.box(), (Box{{3, 0, 0}, {1, 3, 5}}));
  EXPECT_EQ(values(placed.shards()[1].local), rows({0}));
  for (const Rows& wrong : {Rows{}, Rows{-1}, Rows{0, 4}}) EXPECT_THROW(hold_rows(whole, wrong), Error);
}

// Promises: every parameter is a view of its group, with its own shape and types.
TEST_F(ParameterStoreTest, GivesViewsOfTheFlatTensors) {
  Parameter half = matrix_parameter("half", DType::bf16, {3, 4}, 0.02);
  ParameterStore store(*ops_, {&half}, {}, *stream_);

  ops_->fill(store.groups()[0].weight, 2.0, *stream_);
  EXPECT_EQ(half.weight.shape(), (Shape{3, 4}));
  EXPECT_EQ(half.weight.dtype(), DType::bf16);
  EXPECT_EQ(half.grad.dtype(), DType::f32);
  EXPECT_EQ(values(half.weight), std::vector<double>(12, 2.0));
}

// Promises: contents follow the Init of each parameter, padding stays zero, and a parameter's numbers depend on the
// seed and its name alone, not on its neighbours.
TEST_F(ParameterStoreTest, InitializesByNameAndSeed) {
  ParameterStore store(*ops_, all(), {}, *stream_);
  store.initialize(5, *stream_);
  const std::vector<double> embedding = values(embedding_.weight);

  EXPECT_EQ(values(norm_.weight), std::vector<double>(7, 1.0));
  EXPECT_EQ(values(bias_.weight), std::vector<double>(5, 0.0));
  double square = 0.0, flat_square = 0.0;
  for (const double v : embedding) square += v * v;
  EXPECT_NEAR(std::sqrt(square / 70.0), 0.02, 0.006);
  for (const double v : values(store.groups()[1].weight)) flat_square += v * v;
  EXPECT_NEAR(flat_square, square + 7.0, 1e-9);

  Parameter alone = matrix_parameter("embedding.weight", DType::f32, {10, 7}, 0.02);
  ParameterStore other(*ops_, {&alone}, {}, *stream_);
  other.initialize(5, *stream_);
  EXPECT_EQ(values(alone.weight), embedding);
  other.initialize(6, *stream_);
  EXPECT_NE(values(alone.weight), embedding);
}

// Promises: gradients start at zero, can be cleared, and are left out for inference.
TEST_F(ParameterStoreTest, ClearsAndOmitsGradients) {
  ParameterStore store(*ops_, all(), {}, *stream_);
  ops_->fill(embedding_.grad, 3.0, *stream_);
  store.zero_gradients(*stream_);
  EXPECT_EQ(values(embedding_.grad), std::vector<double>(70, 0.0));

  Parameter frozen = matrix_parameter("frozen", DType::f32, {2, 2}, 0.02);
  ParameterStore inference(*ops_, {&frozen}, {.with_gradients = false}, *stream_);
  EXPECT_FALSE(frozen.grad.defined());
}

// Promises: names are unique and pads are sane, or the store refuses.
TEST_F(ParameterStoreTest, RefusesTwinsAndOddPads) {
  Parameter twin = norm_parameter("norm.weight", DType::f32, 3);
  EXPECT_THROW(ParameterStore(*ops_, {&norm_, &twin}, {}, *stream_), Error);
  EXPECT_THROW(ParameterStore(*ops_, {&norm_}, {.pad_elements = 100}, *stream_), Error);
}

}  // namespace
}  // namespace athanor
