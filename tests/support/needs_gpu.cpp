// For programs of which every test wants a GPU: without one all are skipped, saying why; with ATHANOR_REQUIRE_GPU=1
// that is a failure.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "src/backend/cuda/cuda_device.hpp"

namespace athanor {
namespace {

class NeedsGpu : public testing::Environment {
 public:
  void SetUp() override {
    std::string_view reason;
    if (cuda::device_count(&reason) > 0) return;
    const char* required = std::getenv("ATHANOR_REQUIRE_GPU");
    if (required && std::string_view(required) == "1") FAIL() << "ATHANOR_REQUIRE_GPU=1, but no GPU: " << reason;
    GTEST_SKIP() << "skipped for want of a GPU: " << reason;
  }
};

const testing::Environment* const kNeedsGpu = testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace
}  // namespace athanor
