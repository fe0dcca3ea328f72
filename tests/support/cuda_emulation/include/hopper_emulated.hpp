// The instructions of src/backend/cuda/tile_copy.cuh and wgmma.cuh in plain loops, for the emulated GPU. Laws: a tile
// of the copy engine arrives at once or, by the dice, only when no thread can go on without it; a warpgroup's products
// read shared memory and write their sums no sooner than the wait that asks for them, so that memory given back too
// soon and a forgotten wait show; operands are found by their descriptors as the PTX ISA says ("Asynchronous Warpgroup
// Level Matrix Shared Memory Layout", "Matrix Descriptor Format", swizzling of 128 bytes); what a descriptor may not
// say ends the launch.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/cuda_emulation/include/mma_emulated.hpp"

namespace athanor::cuda::hopper_emulated {

constexpr std::uint32_t kSwizzle = 1024;  ///< bytes after which the pattern of 128-byte swizzling comes again

inline std::uint32_t shared_address(const void* at) {
  return static_cast<std::uint32_t>(static_cast<const std::byte*>(at) - emulation::shared_memory());
}
/// Where byte `address` of a swizzled layout lies.
inline std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 7 & 7U) << 4; }

// ---- barriers that count arrivals and bytes

struct Barrier {
  std::uint16_t pending, expected;
  std::int32_t bytes_and_phase;  ///< bytes under way times 2, plus the phase
};
static_assert(sizeof(Barrier) == sizeof(std::uint64_t));

inline Barrier& barrier_of(std::uint64_t& at) { return reinterpret_cast<Barrier&>(at); }

inline void close_if_complete(Barrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes_and_phase >> 1 != 0) return;
  barrier.bytes_and_phase ^= 1;
  barrier.pending = barrier.expected;
}
inline void barrier_init(std::uint64_t& at, int arrivals) {
  const auto count = static_cast<std::uint16_t>(arrivals);
  barrier_of(at) = {count, count, 0};
}
inline void barrier_arrive(std::uint64_t& at, std::uint32_t bytes) {
  Barrier& barrier = barrier_of(at);
  if (barrier.pending == 0) emulation::refuse("more arrivals at a barrier than it expects");
  barrier.bytes_and_phase += static_cast<std::int32_t>(2 * bytes);
  --barrier.pending;
  close_if_complete(barrier);
}
inline void barrier_wait(std::uint64_t& at, std::uint32_t parity, const std::source_location& where) {
  // The word itself tells which barrier and parity to ask for: barriers are aligned to 8 bytes.
  const auto holds = [](const void* what) {
    const auto word = reinterpret_cast<std::uintptr_t>(what);
    const auto& barrier = *reinterpret_cast<const Barrier*>(word & ~std::uintptr_t{1});
    return (static_cast<std::uintptr_t>(barrier.bytes_and_phase) & 1U) != (word & 1U);
  };
  emulation::wait_until(holds, reinterpret_cast<const std::byte*>(&at) + parity, where);
}

// ---- the copy engine

inline void copy_tile(void* to, const CUtensorMap& map, int x, int y, int z, std::uint64_t& at) {
  const std::uint32_t begin = shared_address(to), row_bytes = map.box[0] * map.element_bytes;
  const std::uint32_t bytes = row_bytes * map.box[1] * map.box[2];
  if (begin % kSwizzle != 0 || begin + bytes > emulation::shared_memory_bytes() || row_bytes != 128)
    emulation::refuse("a tile of rows of " + std::to_string(row_bytes) + " bytes copied to shared byte " +
                      std::to_string(begin));
  emulation::put_off([begin, bytes, map, x, y, z, &at] {
    std::byte* shared = emulation::shared_memory();
    const auto inside = [](int first, std::uint32_t offset, std::uint64_t size) {
      return first + static_cast<std::int64_t>(offset) >= 0 &&
             static_cast<std::uint64_t>(first + static_cast<std::int64_t>(offset)) < size;
    };
    std::uint32_t place = begin;
    for (std::uint32_t k = 0; k < map.box[2]; ++k)
      for (std::uint32_t j = 0; j < map.box[1]; ++j)
        for (std::uint32_t i = 0; i < map.box[0]; ++i, place += map.element_bytes) {
          std::byte* element = shared + swizzled(place);
          if (inside(x, i, map.dims[0]) && inside(y, j, map.dims[1]) && inside(z, k, map.dims[2]))
            std::memcpy(element,
                        map.base + static_cast<std::int64_t>(x + static_cast<std::int64_t>(i)) * map.element_bytes +
                            static_cast<std::int64_t>(y + static_cast<std::int64_t>(j)) *
                                static_cast<std::int64_t>(map.strides[0]) +
                            static_cast<std::int64_t>(z + static_cast<std::int64_t>(k)) *
                                static_cast<std::int64_t>(map.strides[1]),
                        map.element_bytes);
          else
            std::memset(element, 0, map.element_bytes);
        }
    Barrier& barrier = barrier_of(at);
    barrier.bytes_and_phase -= static_cast<std::int32_t>(2 * bytes);
    close_if_complete(barrier);
  });
}

// ---- products of a warpgroup

/// A matrix in shared memory as its descriptor tells it: by depth (elements of one depth side by side) or not.
class Operand {
 public:
  Operand(std::uint64_t descriptor, bool by_depth, int element_bytes)
      : start_(static_cast<std::uint32_t>(descriptor & 0x3fffU) << 4),
        leading_(static_cast<std::uint32_t>(descriptor >> 16 & 0x3fffU) << 4),
        stride_(static_cast<std::uint32_t>(descriptor >> 32 & 0x3fffU) << 4),
        by_depth_(by_depth),
        bytes_(static_cast<std::uint32_t>(element_bytes)) {
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7U) != 0)
      emulation::refuse("a descriptor that is not of 128-byte swizzling from a multiple of 1024 on");
    if (by_depth && element_bytes != 2) emulation::refuse("a matrix of bytes that is stored by depth");
  }
  /// Element `depth` of row (or column) `edge`.
  const std::byte* at(int edge, int depth) const {
    const auto e = static_cast<std::uint32_t>(edge), d = static_cast<std::uint32_t>(depth);
    const std::uint32_t place = by_depth_ ? e % 64 * bytes_ + e / 64 * leading_ + d % 8 * 128 + d / 8 * stride_
                                          : e % 8 * 128 + e / 8 * stride_ + d * bytes_;
    return emulation::shared_memory() + swizzled(start_ + place);
  }
  float value(int edge, int depth) const {
    const std::byte* place = at(edge, depth);
    if (bytes_ == 1) return e4m3::value_of(static_cast<std::uint8_t>(*place));
    std::uint16_t bits = 0;
    std::memcpy(&bits, place, 2);
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }

 private:
  std::uint32_t start_, leading_, stride_;
  bool by_depth_;
  std::uint32_t bytes_;
};

struct Groups {
  std::vector<std::vector<std::function<void()>>> closed;
  std::vector<std::function<void()>> open;
};
inline Groups& products_of_thread() {
  static std::map<unsigned, Groups> all;
  return all[threadIdx.x];
}

/// Rows of a that the running thread holds sums of: in its warpgroup.
inline int first_row() { return static_cast<int>(threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4); }

/// d[64 x N] (+)= a * b for kDepth, a[2][kDepth] being the thread's two rows as `rows` tells them when the product
/// runs.
template <int N, int kDepth, class Rows>
void put_off_product(float (&d)[N / 2], const Rows& rows, const Operand& b, bool accumulate) {
  products_of_thread().open.push_back([&d, rows, b, accumulate, lane = static_cast<int>(threadIdx.x % 32)] {
    double a[2][kDepth], column_of_b[kDepth];
    rows(a);
    for (int n = 0; n < N / 8; ++n)
      for (int i = 0; i < 2; ++i) {
        for (int k = 0; k < kDepth; ++k) column_of_b[k] = b.value(8 * n + 2 * (lane % 4) + i, k);
        for (int half = 0; half < 2; ++half) {
          float& sum = d[4 * n + 2 * half + i];
          double total = accumulate ? sum : 0.0;
          for (int k = 0; k < kDepth; ++k) total += a[half][k] * column_of_b[k];
          sum = static_cast<float>(total);
        }
      }
  });
}

/// Both operands in shared memory. kBytes: of an element.
template <int N, int kBytes>
void multiply(float (&d)[N / 2], std::uint64_t a, bool a_by_depth, std::uint64_t b, bool b_by_depth, bool accumulate) {
  const std::uint64_t mine[2] = {a, b};
  std::uint64_t all[32][2];
  emulation::exchange(mine, sizeof(mine), all);
  if (all[0][0] != a || all[0][1] != b) emulation::refuse("lanes of one warp name different operands");
  constexpr int kDepth = 32 / kBytes;
  const Operand a_operand(a, a_by_depth, kBytes);
  const auto rows = [a_operand, row = first_row()](double(&out)[2][kDepth]) {
    for (int half = 0; half < 2; ++half)
      for (int k = 0; k < kDepth; ++k) out[half][k] = a_operand.value(row + 8 * half, k);
  };
  put_off_product<N, kDepth>(d, rows, Operand(b, b_by_depth, kBytes), accumulate);
}

/// a in registers: fragments of mma.m16n8k16, one a warp.
template <int N>
void multiply(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t b, bool b_by_depth, bool accumulate) {
  std::uint32_t all[32][4];
  emulation::exchange(a, sizeof(a), all);
  const unsigned lane = threadIdx.x % 32;
  std::array<std::array<double, 16>, 2> values{};
  for (unsigned half = 0; half < 2; ++half)
    for (unsigned k = 0; k < 16; ++k)
      values[half][k] =
          mma_emulated::value_of(all[lane / 4 * 4 + k / 2 % 4][half + k / 8 * 2], static_cast<int>(k % 2));
  const auto rows = [values](double(&out)[2][16]) { std::memcpy(out, values.data(), sizeof(out)); };
  put_off_product<N, 16>(d, rows, Operand(b, b_by_depth, 2), accumulate);
}

inline void products_commit() {
  Groups& groups = products_of_thread();
  groups.closed.push_back(std::exchange(groups.open, {}));
}
inline void products_wait(int pending) {
  Groups& groups = products_of_thread();
  while (groups.closed.size() > static_cast<std::size_t>(pending)) {
    for (const auto& product : groups.closed.front()) product();
    groups.closed.erase(groups.closed.begin());
  }
  __syncwarp();  // the instruction is the whole warp's
}

}  // namespace athanor::cuda::hopper_emulated
