// Starting kernels, and their dynamic shared memory. Law: a .cu file says launch() and dynamic_shared() where CUDA has
// <<<>>> and extern __shared__, so that the same source is compiled by nvcc for a GPU and by the host's compiler for
// the emulated one of tests/support/cuda_emulation, whose cuda_runtime.h then comes first on the include path.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <source_location>
#include <tuple>
#include <utility>

namespace athanor::cuda {

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;  ///< dynamic shared memory of a block; above 48 KiB it is asked for by launch()
  std::source_location where = std::source_location::current();  ///< of the launch: for diagnostics
};

#ifdef __CUDACC__

/// Enqueues kernel(args...). @returns what the runtime says of the launch; errors inside the kernel come out later.
template <class... Params, class... Args>
cudaError_t launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream, Args&&... args) {
  constexpr std::size_t kWithoutAsking = 48 * 1024;
  if (shape.shared_bytes > kWithoutAsking) {
    const cudaError_t status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes));
    if (status != cudaSuccess) return status;
  }
  kernel<<<shape.grid, shape.block, shape.shared_bytes, stream>>>(static_cast<Params>(args)...);
  return cudaGetLastError();
}

/// The block's dynamic shared memory, aligned to 128 bytes.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char shared_bytes_of_the_block[];
  return reinterpret_cast<T*>(shared_bytes_of_the_block);
}

/// The same for tiles of the copy engine: aligned to 1024 bytes. A launch asks for a multiple of 1024.
__device__ inline unsigned char* dynamic_shared_tiles() {
  extern __shared__ __align__(1024) unsigned char shared_tiles_of_the_block[];
  return shared_tiles_of_the_block;
}

#else

template <class... Params, class... Args>
cudaError_t launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream, Args&&... args) {
  return static_cast<cudaError_t>(emulation::enqueue_kernel(
      {shape.grid, shape.block, shape.shared_bytes, shape.where}, stream,
      [kernel, values = std::tuple<Params...>(static_cast<Params>(args)...)] { std::apply(kernel, values); }));
}

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulation::shared_memory());
}
inline unsigned char* dynamic_shared_tiles() {
  if (emulation::shared_memory_bytes() % 1024 != 0) emulation::refuse("tiles in shared memory that is not aligned");
  return reinterpret_cast<unsigned char*>(emulation::shared_memory());
}

#endif

}  // namespace athanor::cuda
