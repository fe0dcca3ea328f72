// Hopper's copy engine (TMA): tiles of a tensor brought to shared memory beside the arithmetic, and the barriers that
// tell when they are there. Laws: one thread starts a copy; a tile has rows of 128 bytes, swizzled by 128 bytes as
// wgmma.cuh reads them, from a multiple of 1024 on; what lies outside the tensor arrives as zeros. A barrier's phase
// ends when all arrivals and all bytes told to it have come; its parity starts at 0, so a wait for parity 1 passes at
// once. Shared memory that threads wrote is fenced (fence_for_copies_and_products) before the copy engine or a
// warpgroup's product touches it. PTX ISA, sections "mbarrier", "cp.async.bulk.tensor", "Async proxy". Compiled without
// the features of sm_90a, kernels trap.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <source_location>

#ifndef __CUDACC__
#include <hopper_emulated.hpp>  // of the emulation, which lies beside its cuda_runtime.h
#define __grid_constant__
#endif

#if defined(__CUDACC__) && (!defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL))
#define ATHANOR_HOPPER_ASM(...) asm volatile(__VA_ARGS__)
#elif defined(__CUDACC__)
#define ATHANOR_HOPPER_ASM(...) __trap()
#endif

namespace athanor::cuda {

using TileBarrier = std::uint64_t;  ///< in shared memory

#ifdef __CUDACC__
__device__ inline std::uint32_t shared_address(const void* at) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(at));
}
#else
using hopper_emulated::shared_address;
#endif

/// One thread, before a barrier of the block that all cross.
__device__ inline void barrier_init(TileBarrier& barrier, int arrivals) {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(shared_address(&barrier)), "r"(arrivals));
#else
  hopper_emulated::barrier_init(barrier, arrivals);
#endif
}

/// After the last barrier_init, by the same thread.
__device__ inline void barrier_init_done() {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ inline void barrier_arrive(TileBarrier& barrier) {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(shared_address(&barrier)) : "memory");
#else
  hopper_emulated::barrier_arrive(barrier, 0);
#endif
}

/// Arrives, and lets the phase wait for so many bytes of copies.
__device__ inline void barrier_arrive_expecting(TileBarrier& barrier, std::uint32_t bytes) {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                     :
                     : "r"(shared_address(&barrier)), "r"(bytes)
                     : "memory");
#else
  hopper_emulated::barrier_arrive(barrier, bytes);
#endif
}

/// Waits until the phase of this parity has ended.
__device__ inline void barrier_wait(TileBarrier& barrier, std::uint32_t parity
#ifndef __CUDACC__
                                    ,
                                    const std::source_location& where = std::source_location::current()
#endif
) {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}"
      :
      : "r"(shared_address(&barrier)), "r"(parity)
      : "memory");
#else
  hopper_emulated::barrier_wait(barrier, parity, where);
#endif
}

/// The box of `map` from element (x, y, z) on to shared memory; its bytes are told to `barrier`.
__device__ inline void copy_tile(void* to, const CUtensorMap& map, int x, int y, int z, TileBarrier& barrier) {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
      :
      : "r"(shared_address(to)), "l"(&map), "r"(x), "r"(y), "r"(z), "r"(shared_address(&barrier))
      : "memory");
#else
  hopper_emulated::copy_tile(to, map, x, y, z, barrier);
#endif
}

/// By every thread that wrote shared memory, before it arrives where the copy engine or a product goes on.
__device__ inline void fence_for_copies_and_products() {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/// A place in a ring of kStages buffers, with the parity of its barriers.
template <int kStages>
struct Stage {
  int index = 0;
  std::uint32_t parity = 0;
  __device__ void advance() {
    if (++index == kStages) {
      index = 0;
      parity ^= 1U;
    }
  }
};

/// Registers a thread may hold from here on; by all of a warpgroup, in a kernel of bounded registers.
template <int kCount>
__device__ inline void claim_registers() {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(kCount));
#endif
}
template <int kCount>
__device__ inline void release_registers() {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(kCount));
#endif
}

}  // namespace athanor::cuda
