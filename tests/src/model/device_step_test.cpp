// What a training step asks of a GPU besides its work, counted by the emulated one.
#include <gtest/gtest.h>

#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/device_offer.hpp"
#include "tests/src/model/toy_models.hpp"
#include "tests/support/cuda_emulation/counts.hpp"

namespace athanor {
namespace {

const bool kOffered = [] {
  offer_device("cuda-emulated", [] { return std::make_unique<cuda::CudaBackend>(0); });
  return true;
}();

class DeviceStep : public ::testing::TestWithParam<std::string> {};

// Promise: once warm, F, I and W of a micro-batch allocate no memory of the device, and the host waits for nothing.
TEST_P(DeviceStep, NeitherAllocatesNorWaits) {
  const bool fp8 = GetParam() == "deepseek_v3_fp8";
  testing::ModelBench bench(fp8 ? testing::toy_deepseek_v3_fp8() : testing::toy_models().at(GetParam()), DType::bf16,
                            "cuda-emulated");
  const MicroBatch batch = bench.batch();
  for (int step = 0; step < 2; ++step) bench.train(batch, step % 2);
  bench.stream().synchronize();
  bench.train(batch);

  const emulation::Counts before = emulation::counts();
  bench.train(batch, 1);
  const emulation::Counts after = emulation::counts();

  EXPECT_GT(before.allocations, 0);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.waits, before.waits);
  bench.stream().synchronize();
}

INSTANTIATE_TEST_SUITE_P(Toys, DeviceStep, ::testing::Values("deepseek_v3_fp8", "gqa_moe", "qwen2"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace athanor
