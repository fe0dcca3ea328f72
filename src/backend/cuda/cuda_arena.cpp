#include "src/backend/cuda/cuda_arena.hpp"

#include "src/backend/cuda/cuda_device.hpp"

namespace athanor::cuda {

std::byte* CudaArena::system_allocate(std::size_t bytes) {
  const DeviceGuard guard(device_);
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // forgotten here: the arena frees its cache and asks again
    return nullptr;
  }
  check(status, "device memory");
  return static_cast<std::byte*>(data);
}

void CudaArena::system_free(std::byte* data, std::size_t) noexcept {
  check_or_log(cudaSetDevice(device_), "make a device current");
  check_or_log(cudaFree(data), "free device memory");
}

}  // namespace athanor::cuda
