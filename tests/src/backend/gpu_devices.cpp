// Offers this machine's GPUs to the tests that run on every device. Skips where there is none, saying why; with
// ATHANOR_REQUIRE_GPU=1 that is a failure.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/offer_devices.hpp"

namespace athanor {
namespace {

const bool kOffered = [] {
  cuda::offer_devices();
  return true;
}();

// Promise: a machine that should have a GPU does not pass these tests without one.
TEST(Gpu, IsThere) {
  std::string_view reason;
  if (cuda::device_count(&reason) > 0) return;
  const char* required = std::getenv("ATHANOR_REQUIRE_GPU");
  if (required && std::string_view(required) == "1") FAIL() << "ATHANOR_REQUIRE_GPU=1, but no GPU: " << reason;
  GTEST_SKIP() << "skipped for want of a GPU: " << reason;
}

}  // namespace
}  // namespace athanor
