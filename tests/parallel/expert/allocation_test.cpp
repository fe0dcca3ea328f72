// A program of its own, because it counts every operator new.
#include <gtest/gtest.h>

#include "tests/parallel/expert/expert_bench.hpp"
#include "tests/support/heap_counter.hpp"

namespace athanor {
namespace {

// Promises: once warm, forward and backward of a layer over ranks take nothing from the heap and the arena nothing from
// the system, with one hop and with two.
TEST(ExpertSteadyState, AllocatesNothing) {
  testing::RankBench bench("cpu");
  for (const std::int64_t ranks_per_node : {1, 2}) {
    AllToAllDispatcher dispatcher(bench.transport, bench.nodes(ranks_per_node), bench.contiguous(), *bench.ops,
                                  *bench.travel);
    testing::MoeBench layer(bench, dispatcher);
    const Tensor x = bench.tensor(bench.random_rows(bench.first_token(), bench.tokens(), testing::kDim, 1),
                                  {bench.tokens(), testing::kDim});
    const auto step = [&] {
      layer.moe.forward(bench.training, x, layer.saved);
      layer.moe.backward_input(bench.training, x, layer.saved);
      layer.moe.backward_weight(bench.training, layer.saved);
    };
    for (int i = 0; i < 4; ++i) step();
    const std::int64_t before = heap_allocations();
    const std::int64_t from_system = bench.ops->arena().statistics().system_allocations;
    for (int i = 0; i < 4; ++i) step();
    EXPECT_EQ(heap_allocations() - before, 0);
    EXPECT_EQ(bench.ops->arena().statistics().system_allocations, from_system);
  }
}

}  // namespace
}  // namespace athanor
