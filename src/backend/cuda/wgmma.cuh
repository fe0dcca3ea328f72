// Products of a warpgroup (wgmma): four consecutive warps, from a multiple of four on, multiply 64 rows of a by N
// columns of b and hold the sums in registers. Laws: all 128 threads call; products run behind the thread, in order,
// until products_wait says that they are done, and until then nobody touches their sums or their operands;
// products_begin comes before the first product and wherever threads wrote the sums (or a in registers) since. Operands
// in shared memory are tiles of rows of 128 bytes, swizzled by 128 bytes, from a multiple of 1024 on (as tile_copy.cuh
// brings them). Sums: d[4 n + i] is row 16 warp + lane / 4 + 8 (i / 2), column 8 n + 2 (lane % 4) + i % 2. PTX ISA,
// "Asynchronous Warpgroup Level Matrix Instructions". Compiled without the features of sm_90a, kernels trap.
#pragma once

#include "src/backend/cuda/mma.cuh"
#include "src/backend/cuda/tile_copy.cuh"

namespace athanor::cuda {

inline constexpr int kWarpgroup = 128, kRowsOfWarpgroup = 64;
/// Threads of a block of three warpgroups, one to bring tiles and two to multiply; and the warps of these.
inline constexpr int kTiledThreads = 3 * kWarpgroup, kMultiplyingWarps = 8;
/// Registers of a thread where, of three warpgroups of a block, one brings tiles and two multiply.
inline constexpr int kRegistersToBring = 40, kRegistersToMultiply = 232;
inline constexpr int kTileRowBytes = 128;             ///< of a tile in shared memory
inline constexpr int kTileRowsOfSwizzle = 8;          ///< rows after which the swizzling comes again
inline constexpr int kTileWidth = kTileRowBytes / 2;  ///< bf16 of a row

/// Where an operand lies, for products. Steps along it are added to the descriptor.
struct Operand {
  std::uint64_t descriptor;

  /// Rows of the tile are rows of a (columns of b), 128 bytes of the depth side by side.
  __device__ static Operand by_edge(const void* tile) { return of(tile, 1); }
  /// Rows of the tile are the depth, 64 rows of a (columns of b) side by side; the next 64 lie `bytes` on.
  __device__ static Operand by_depth(const void* tile, int bytes) {
    return of(tile, static_cast<std::uint64_t>(bytes >> 4));
  }
  /// The operand from `bytes` of shared memory further on.
  __device__ Operand plus(int bytes) const { return {descriptor + static_cast<std::uint64_t>(bytes >> 4)}; }

 private:
  __device__ static Operand of(const void* tile, std::uint64_t leading) {
    constexpr std::uint64_t kStride = kTileRowBytes * kTileRowsOfSwizzle >> 4, kSwizzle128 = 1;
    return {(shared_address(tile) & 0x3ffffU) >> 4 | leading << 16 | kStride << 32 | kSwizzle128 << 62};
  }
};
/// Bytes to the next 16 of the depth (32 bytes of it) in a tile by edge, and in one by depth.
inline constexpr int kDepthStepByEdge = 32, kDepthStepByDepth = 16 * kTileRowBytes;

__device__ inline void products_begin() {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
/// Closes a group of products.
__device__ inline void products_commit() {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  hopper_emulated::products_commit();
#endif
}
/// Waits for all groups but the newest kPending.
template <int kPending>
__device__ inline void products_wait() {
#ifdef __CUDACC__
  ATHANOR_HOPPER_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
#else
  hopper_emulated::products_wait(kPending);
#endif
}

/// Products of one width. multiply: d = a * b, or d += a * b where `accumulate`; bf16 of a depth of 16, or (e4m3) bytes
/// of a depth of 32, both then by edge.
template <int N>
struct WarpgroupProduct;

#ifdef __CUDACC__
#define ATHANOR_SUMS_8(d, o)                                                                                  \
  "+f"(d[o]), "+f"(d[o + 1]), "+f"(d[o + 2]), "+f"(d[o + 3]), "+f"(d[o + 4]), "+f"(d[o + 5]), "+f"(d[o + 6]), \
      "+f"(d[o + 7])
#define ATHANOR_SUMS_16(d, o) ATHANOR_SUMS_8(d, o), ATHANOR_SUMS_8(d, o + 8)
#define ATHANOR_SUMS_32(d, o) ATHANOR_SUMS_16(d, o), ATHANOR_SUMS_16(d, o + 16)
#define ATHANOR_SUMS_64(d, o) ATHANOR_SUMS_32(d, o), ATHANOR_SUMS_32(d, o + 32)
#define ATHANOR_SUMS_96(d, o) ATHANOR_SUMS_64(d, o), ATHANOR_SUMS_32(d, o + 64)
#define ATHANOR_SUMS_128(d, o) ATHANOR_SUMS_64(d, o), ATHANOR_SUMS_64(d, o + 64)
// N columns are N / 2 sums of a thread: operands 0 .. N / 2 - 1 of the text, `sums`; behind them come a (one word, or
// four registers), b, whether to accumulate, and which operands lie by depth.
#define ATHANOR_WARPGROUP_PRODUCT(N, bindings, sums, s0, s1, s2, s3, s4, s5, s6)                                     \
  template <>                                                                                                        \
  struct WarpgroupProduct<N> {                                                                                       \
    static constexpr int kSums = N / 2;                                                                              \
    template <bool kAByDepth, bool kBByDepth>                                                                        \
    __device__ static void multiply(float (&d)[kSums], Operand a, Operand b, bool accumulate) {                      \
      ATHANOR_HOPPER_ASM("{\n.reg .pred more;\nsetp.ne.b32 more, " s2                                                \
                         ", 0;\n"                                                                                    \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" sums "}, " s0 ", " s1          \
                         ", more, 1, 1, " s3 ", " s4 ";\n}"                                                          \
                         : bindings(d, 0)                                                                            \
                         : "l"(a.descriptor), "l"(b.descriptor), "r"(static_cast<int>(accumulate)),                  \
                           "n"(kAByDepth ? 1 : 0), "n"(kBByDepth ? 1 : 0));                                          \
    }                                                                                                                \
    template <bool kBByDepth>                                                                                        \
    __device__ static void multiply(float (&d)[kSums], const FragmentA& a, Operand b, bool accumulate) {             \
      ATHANOR_HOPPER_ASM("{\n.reg .pred more;\nsetp.ne.b32 more, " s5                                                \
                         ", 0;\n"                                                                                    \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" sums "}, {" s0 ", " s1 ", " s2 \
                         ", " s3 "}, " s4 ", more, 1, 1, " s6 ";\n}"                                                 \
                         : bindings(d, 0)                                                                            \
                         : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "l"(b.descriptor),                    \
                           "r"(static_cast<int>(accumulate)), "n"(kBByDepth ? 1 : 0));                               \
    }                                                                                                                \
    __device__ static void multiply_e4m3(float (&d)[kSums], Operand a, Operand b, bool accumulate) {                 \
      ATHANOR_HOPPER_ASM("{\n.reg .pred more;\nsetp.ne.b32 more, " s2                                                \
                         ", 0;\n"                                                                                    \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {" sums "}, " s0 ", " s1          \
                         ", more, 1, 1;\n}"                                                                          \
                         : bindings(d, 0)                                                                            \
                         : "l"(a.descriptor), "l"(b.descriptor), "r"(static_cast<int>(accumulate)));                 \
    }                                                                                                                \
  };
#define ATHANOR_R16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define ATHANOR_R32 \
  ATHANOR_R16       \
  ", "              \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define ATHANOR_R64                                                                                                \
  ATHANOR_R32                                                                                                      \
  ", "                                                                                                             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define ATHANOR_R96                                                                                                \
  ATHANOR_R64                                                                                                      \
  ", "                                                                                                             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, " \
  "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define ATHANOR_R128                                                                                               \
  ATHANOR_R96                                                                                                      \
  ", "                                                                                                             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, " \
  "%115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
ATHANOR_WARPGROUP_PRODUCT(32, ATHANOR_SUMS_16, ATHANOR_R16, "%16", "%17", "%18", "%19", "%20", "%21", "%22")
ATHANOR_WARPGROUP_PRODUCT(64, ATHANOR_SUMS_32, ATHANOR_R32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
ATHANOR_WARPGROUP_PRODUCT(128, ATHANOR_SUMS_64, ATHANOR_R64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
ATHANOR_WARPGROUP_PRODUCT(192, ATHANOR_SUMS_96, ATHANOR_R96, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
ATHANOR_WARPGROUP_PRODUCT(256, ATHANOR_SUMS_128, ATHANOR_R128, "%128", "%129", "%130", "%131", "%132", "%133", "%134")
#undef ATHANOR_WARPGROUP_PRODUCT
#else
template <int N>
struct WarpgroupProduct {
  static constexpr int kSums = N / 2;
  template <bool kAByDepth, bool kBByDepth>
  static void multiply(float (&d)[kSums], Operand a, Operand b, bool accumulate) {
    hopper_emulated::multiply<N, 2>(d, a.descriptor, kAByDepth, b.descriptor, kBByDepth, accumulate);
  }
  template <bool kBByDepth>
  static void multiply(float (&d)[kSums], const FragmentA& a, Operand b, bool accumulate) {
    hopper_emulated::multiply<N>(d, a.r, b.descriptor, kBByDepth, accumulate);
  }
  static void multiply_e4m3(float (&d)[kSums], Operand a, Operand b, bool accumulate) {
    hopper_emulated::multiply<N, 1>(d, a.descriptor, false, b.descriptor, false, accumulate);
  }
};
#endif

/// The first of the thread's two rows of sums in its warpgroup; the other is 8 below.
__device__ inline int row_of_sums() {
  return static_cast<int>(threadIdx.x) / 32 % 4 * 16 + static_cast<int>(lane_id()) / 4;
}

/// Four neighbouring pairs of columns [8 n + 2 i, + 2) of one row, n = 0 .. 3, held by lanes i of a quad, turned round:
/// afterwards lane i holds columns [8 i, 8 i + 8).
__device__ inline void turn_quad(Pair (&p)[4]) {
  const bool odd = (lane_id() & 1U) != 0, upper = (lane_id() & 2U) != 0;
  const auto swap = [](Pair& mine_if_even, Pair& mine_if_odd, bool is_odd, int by) {
    const Pair got = __shfl_xor_sync(0xffffffffU, is_odd ? mine_if_even : mine_if_odd, by);
    (is_odd ? mine_if_even : mine_if_odd) = got;
  };
  swap(p[0], p[1], odd, 1);
  swap(p[2], p[3], odd, 1);
  swap(p[0], p[2], upper, 2);
  swap(p[1], p[3], upper, 2);
}

}  // namespace athanor::cuda
