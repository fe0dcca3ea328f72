// Offers the emulated GPU as "cuda-emulated" to the tests that run on every device. They filter by that name: this
// program is for the emulated GPU, src_backend for the CPU's devices.
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/device_offer.hpp"

namespace athanor {
namespace {

const bool kOffered = [] {
  offer_device("cuda-emulated", [] { return std::make_unique<cuda::CudaBackend>(0); });
  return true;
}();

}  // namespace
}  // namespace athanor
