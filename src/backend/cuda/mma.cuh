// Tensor-core building blocks of one warp: bf16 fragments, products into f32, copies into shared memory that run beside
// the arithmetic. Law: every lane of the warp calls (cp_async aside); a fragment is laid out as the PTX ISA says for
// mma.m16n8k16 (sections "Matrix multiply-accumulate" and "ldmatrix"): with row = lane / 4 and pair = 2 * (lane % 4)
//   A [16 x 16]: registers {row, row + 8} x {columns pair, pair + 8}, rows first; B [16 x 8]: columns lane / 4, rows
//   pair and pair + 8; C [16 x 8]: {row: pair, pair + 1; row + 8: pair, pair + 1}.
// Compiled for a GPU these are single instructions; elsewhere (the emulated GPU of the tests) mma_emulated.hpp, found
// on the include path of the emulation, says the same in loops.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "src/base/dtype.hpp"

#ifndef __CUDACC__
#include <mma_emulated.hpp>  // of the emulation, which lies beside its cuda_runtime.h
#endif

namespace athanor::cuda {

/// Two bf16 side by side, the first in the lower half.
using Pair = std::uint32_t;

struct FragmentA {
  Pair r[4];
};
/// Two neighbouring B fragments: columns 0-7 in r[0], r[1] and 8-15 in r[2], r[3].
struct FragmentB2 {
  Pair r[4];
};

__device__ inline unsigned lane_id() { return threadIdx.x % 32; }

/// Both values rounded to nearest even.
__device__ inline Pair pack_bf16(float low, float high) {
#ifdef __CUDACC__
  Pair pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return mma_emulated::pack_bf16(low, high);
#endif
}

__device__ inline bf16 to_bf16(float value) {
  bf16 out;
  out.bits = static_cast<std::uint16_t>(pack_bf16(value, 0.0F) & 0xffffU);
  return out;
}

__device__ inline float to_float(bf16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }

/// 2^x to about 22 bits; 0 for -inf, 1 for 0.
__device__ inline float exp2_fast(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

/// c += a * b for one 16 x 8 tile, b being registers b0 and b1 of a B fragment.
__device__ inline void mma_16x8x16(float (&c)[4], const FragmentA& a, Pair b0, Pair b1) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
      "%2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
#else
  mma_emulated::mma_16x8x16(c, a.r, b0, b1);
#endif
}

/// c += a * b for one 16 x 8 tile of E4M3 and a depth of 32: fragments as of mma_16x8x16, two bytes in place of a bf16.
/// Needs compute capability 8.9.
__device__ inline void mma_16x8x32_e4m3(float (&c)[4], const FragmentA& a, Pair b0, Pair b1) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 890
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
      "%2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
#else
  __trap();
#endif
#else
  mma_emulated::mma_16x8x32_e4m3(c, a.r, b0, b1);
#endif
}

/// Two E4M3 side by side, the first in the lower byte: the rule of src/base/e4m3.hpp. Needs compute capability 8.9.
__device__ inline std::uint16_t pack_e4m3(float low, float high) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 890
  std::uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
#else
  __trap();
  return 0;
#endif
#else
  return mma_emulated::pack_e4m3(low, high);
#endif
}

/// Four 8 x 8 matrices of shared memory: lane 8 i + j gives the address (16-byte aligned) of row j of matrix i;
/// register i of a lane is {row lane / 4, columns pair and pair + 1} of matrix i.
__device__ inline void load_matrices(Pair (&r)[4], const void* row) {
#ifdef __CUDACC__
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  mma_emulated::load_matrices(r, row, false);
#endif
}

/// The same with each matrix transposed: register i is {rows pair and pair + 1, column lane / 4}.
__device__ inline void load_matrices_transposed(Pair (&r)[4], const void* row) {
#ifdef __CUDACC__
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  mma_emulated::load_matrices(r, row, true);
#endif
}

/// 16 bytes from global to shared memory, both 16-byte aligned, beside the arithmetic. There after the thread's
/// copies_wait and a barrier.
__device__ inline void copy_16_bytes(void* to_shared, const void* from) {
#ifdef __CUDACC__
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to_shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(address), "l"(from) : "memory");
#else
  mma_emulated::copy_16_bytes(to_shared, from);
#endif
}

/// Closes the thread's group of copies (an empty group counts too).
__device__ inline void copies_commit() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  mma_emulated::copies_commit();
#endif
}

/// Waits for the thread's groups but the newest kPending.
template <int kPending>
__device__ inline void copies_wait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#else
  mma_emulated::copies_wait(kPending);
#endif
}

}  // namespace athanor::cuda
