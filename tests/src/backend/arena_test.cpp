// The arena: blocks are cached, and a steady state asks neither it nor the heap for more.
#include <gtest/gtest.h>

#include "src/backend/backend.hpp"
#include "tests/support/heap_counter.hpp"

namespace athanor {
namespace {

class ArenaTest : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> ops_ = make_backend(GetParam());
  std::unique_ptr<Stream> stream_ = ops_->make_stream();
};

// Promise: memory in use is that of living tensors; a freed block serves the next request of its size class.
TEST_P(ArenaTest, HandsFreedBlocksOutAgain) {
  Arena& arena = ops_->arena();
  const std::byte* first = nullptr;
  {
    const Tensor t = ops_->empty({1000}, DType::f32);
    first = t.unsafe_data();
    EXPECT_GE(arena.statistics().in_use_bytes, 4000U);
    EXPECT_LE(arena.statistics().in_use_bytes, 4000U * 9 / 8);
  }
  EXPECT_EQ(arena.statistics().in_use_bytes, 0U);
  const Tensor again = ops_->empty({1001}, DType::f32);
  EXPECT_EQ(again.unsafe_data(), first);
  EXPECT_EQ(arena.statistics().system_allocations, 1);
}

// Promise: a view keeps the block; views cut rows and reshape without copying, and refuse what does not fit.
TEST_P(ArenaTest, ViewsShareTheBlock) {
  Tensor view;
  {
    const Tensor t = ops_->empty({4, 6}, DType::f32);
    view = t.rows(1, 3);
    EXPECT_EQ(view.unsafe_data(), t.unsafe_data() + 24);
    EXPECT_EQ(t.reshaped({8, 3}).shape(), (Shape{8, 3}));
    EXPECT_THROW(t.rows(3, 5), Error);
    EXPECT_THROW(t.reshaped({5, 5}), Error);
  }
  EXPECT_GT(ops_->arena().statistics().in_use_bytes, 0U);
  view = {};
  EXPECT_EQ(ops_->arena().statistics().in_use_bytes, 0U);
}

// Promise: the peak is the most in use at once.
TEST_P(ArenaTest, RemembersThePeak) {
  { const Tensor a = ops_->empty({64}, DType::f32), b = ops_->empty({64}, DType::f32); }
  const Tensor c = ops_->empty({64}, DType::f32);
  EXPECT_EQ(ops_->arena().statistics().peak_in_use_bytes, 512U);
  ops_->arena().reset_peak();
  EXPECT_EQ(ops_->arena().statistics().peak_in_use_bytes, 256U);
}

/// One pass through most operations, as a training step makes it, with fresh tensors.
void step(Backend& ops, Stream& stream, DType dtype) {
  const DType acc = accumulation_dtype(dtype);
  const std::int64_t tokens = 96, width = 160, experts = 8, top_k = 2;
  const Shape shape{tokens, width};
  const Tensor x = ops.empty(shape, dtype), y = ops.empty(shape, dtype), w = ops.empty({width}, dtype);
  const Tensor rstd = ops.empty({tokens}, acc), dw = ops.empty({width}, acc);
  ops.fill(x, 0.5, stream);
  ops.fill(w, 1.0, stream);
  ops.fill(dw, 0.0, stream);
  ops.rms_norm_forward(y, rstd, x, w, 1e-6, stream);
  ops.swiglu_forward(y, x, y, stream);
  ops.rms_norm_backward_input(y, y, x, w, rstd, x, stream);
  ops.rms_norm_backward_weight(dw, y, x, rstd, stream);
  ops.bias_backward(dw, y, stream);
  const Tensor logits = ops.empty({tokens, experts}, acc), scores = ops.empty({tokens, experts}, acc);
  const Tensor bias = ops.empty({experts}, acc), ids = ops.empty({tokens, top_k}, DType::i32);
  const Tensor weights = ops.empty({tokens, top_k}, acc), loss = ops.empty({1}, acc);
  ops.fill(logits, 0.0, stream);
  ops.fill(bias, 0.0, stream);
  ops.fill(loss, 0.0, stream);
  const RouterArgs args{.num_experts = experts, .top_k = top_k, .num_groups = 4, .num_limited_groups = 2};
  ops.router_forward(scores, ids, weights, logits, bias, args, stream);
  ops.sequence_balance_loss(loss, logits, scores, top_k, 48, 0.1, 1.0, stream);
  ops.router_backward(logits, weights, logits, scores, ids, args, stream);
  const Tensor pair = ops.empty({tokens * top_k}, DType::i32), row = ops.empty({tokens, top_k}, DType::i32);
  const Tensor offsets = ops.empty({experts + 1}, DType::i32), routed = ops.empty({tokens * top_k, width}, dtype);
  ops.sort_by_expert(pair, row, offsets, ids, stream);
  ops.permute_rows(routed, x, pair, top_k, stream);
  ops.unpermute_rows(y, routed, row, weights, false, stream);
  const Tensor targets = ops.empty({tokens}, DType::i32), losses = ops.empty({tokens}, acc);
  const Tensor token_weights = ops.empty({tokens}, acc), sum = ops.empty({1}, DType::f64);
  const Tensor keys = ops.empty({tokens}, DType::i64), count = ops.empty({1}, DType::i64);
  ops.fill(targets, 3, stream);
  ops.fill(token_weights, 1.0, stream);
  ops.fill(keys, 3, stream);
  ops.fill(sum, 0.0, stream);
  ops.fill(count, 0, stream);
  ops.cross_entropy(losses, y, y, targets, token_weights, stream);
  ops.weighted_sum(sum, losses, token_weights, stream);
  ops.sample(targets, losses, y, keys, 1, {.top_p = 0.9, .top_k = 20}, stream);
  ops.sum_squares(sum, dw, stream);
  ops.count_nonfinite(count, dw, stream);
  const Tensor m = ops.empty({width}, acc), v = ops.empty({width}, acc), master = ops.empty({width}, acc);
  for (const Tensor& t : {m, v, master}) ops.fill(t, 0.0, stream);
  ops.adamw(w, master, m, v, dw, 1.0, {.lr = 1e-3}, stream);
  stream.synchronize();
}

// Promise: after the first step the system is asked for nothing, and on the plain device the heap for nothing either.
TEST_P(ArenaTest, SteadyStateAllocatesNothing) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) step(*ops_, *stream_, dtype);
  const auto system_before = ops_->arena().statistics().system_allocations;
  const auto heap_before = heap_allocations();
  for (int i = 0; i < 3; ++i)
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) step(*ops_, *stream_, dtype);
  EXPECT_EQ(ops_->arena().statistics().system_allocations, system_before);
  if (stream_->runs_at_once()) {
    EXPECT_EQ(heap_allocations(), heap_before);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, ArenaTest, testing::ValuesIn(available_devices()), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

}  // namespace
}  // namespace athanor
