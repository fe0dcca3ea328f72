// A program of its own, because it counts every operator new.
#include <gtest/gtest.h>

#include "tests/src/model/toy_models.hpp"
#include "tests/support/heap_counter.hpp"

namespace athanor {
namespace {

class SteadyState : public ::testing::TestWithParam<std::string> {};

// Promises: once warm, F, I and W of a micro-batch take nothing from the heap, and the arena nothing from the system.
TEST_P(SteadyState, AllocatesNothing) {
  const bool fp8 = GetParam() == "deepseek_v3_fp8";
  testing::ModelBench bench(fp8 ? testing::toy_deepseek_v3_fp8() : testing::toy_models().at(GetParam()), DType::f32);
  const MicroBatch batch = bench.batch();
  for (int step = 0; step < 4; ++step) bench.train(batch, step % 2);
  const std::int64_t before = heap_allocations();
  const std::int64_t from_system = bench.ops().arena().statistics().system_allocations;
  for (int step = 0; step < 4; ++step) bench.train(batch, step % 2);
  EXPECT_EQ(heap_allocations() - before, 0);
  EXPECT_EQ(bench.ops().arena().statistics().system_allocations, from_system);
}

INSTANTIATE_TEST_SUITE_P(Toys, SteadyState, ::testing::ValuesIn([] {
                           std::vector<std::string> names = testing::toy_model_names();
                           names.emplace_back("deepseek_v3_fp8");
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace athanor
