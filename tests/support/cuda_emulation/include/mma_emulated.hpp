// The instructions of src/backend/cuda/mma.cuh in plain loops, for the emulated GPU. Laws: fragments are laid out as
// the PTX ISA says; a product is summed in f64 and rounded once to f32 (hardware sums in f32 in an order of its own);
// an asynchronous copy arrives no sooner than the wait that asks for it, so that a forgotten wait reads NaN.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "src/base/dtype.hpp"
#include "src/base/e4m3.hpp"

namespace athanor::cuda::mma_emulated {

inline float value_of(std::uint32_t pair, int which) {
  return std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000U);
}

inline std::uint32_t pack_bf16(float low, float high) {
  return std::uint32_t{bf16::rounded_bits(low)} | std::uint32_t{bf16::rounded_bits(high)} << 16;
}

inline std::uint16_t pack_e4m3(float low, float high) {
  return static_cast<std::uint16_t>(e4m3::bits_of(low) | e4m3::bits_of(high) << 8);
}
inline float e4m3_of(std::uint32_t four, int which) {
  return e4m3::value_of(static_cast<std::uint8_t>(four >> (8 * which)));
}

/// A register holds kHeld elements along the depth, element i being value(register, i).
template <int kHeld, class Value>
void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1, const Value& value) {
  struct Mine {
    std::uint32_t a[4], b[2];
  };
  Mine mine{{a[0], a[1], a[2], a[3]}, {b0, b1}}, all[32];
  emulation::exchange(&mine, sizeof(mine), all);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int i = 0; i < 4; ++i) {
    const int row = i / 2, column = 2 * (lane % 4) + i % 2;  // of C: row lane / 4 + 8 * row
    double sum = c[i];
    for (int k = 0; k < 8 * kHeld; ++k) {
      const int owner = k / kHeld % 4, upper = k / (4 * kHeld);
      sum += static_cast<double>(value(all[lane / 4 * 4 + owner].a[row + 2 * upper], k % kHeld)) *
             static_cast<double>(value(all[column * 4 + owner].b[upper], k % kHeld));
    }
    c[i] = static_cast<float>(sum);
  }
}

inline void mma_16x8x16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  multiply_tile<2>(c, a, b0, b1, value_of);
}
inline void mma_16x8x32_e4m3(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  multiply_tile<4>(c, a, b0, b1, e4m3_of);
}

inline void load_matrices(std::uint32_t (&r)[4], const void* row, bool transposed) {
  const void* rows[32];
  emulation::exchange(&row, sizeof(row), rows);
  const unsigned lane = threadIdx.x % 32, pair = 2 * (lane % 4);
  for (unsigned i = 0; i < 4; ++i) {
    std::uint16_t low = 0, high = 0;
    const auto read = [&](std::uint16_t& value, unsigned at_row, unsigned at_column) {
      std::memcpy(&value, static_cast<const char*>(rows[8 * i + at_row]) + 2 * at_column, 2);
    };
    read(low, transposed ? pair : lane / 4, transposed ? lane / 4 : pair);
    read(high, transposed ? pair + 1 : lane / 4, transposed ? lane / 4 : pair + 1);
    r[i] = std::uint32_t{low} | std::uint32_t{high} << 16;
  }
  // No lane may overwrite what another still reads: the instruction is over for all lanes at once.
  __syncwarp();
}

struct Copy {
  void* to;
  const void* from;
};
/// Copies of each thread of the running block that no wait has asked for, oldest group first; the last is open.
struct Copies {
  std::vector<std::vector<Copy>> groups = std::vector<std::vector<Copy>>(1);
};
inline Copies& copies_of_thread() {
  static std::map<unsigned, Copies> all;
  return all[threadIdx.x];
}

inline void copy_16_bytes(void* to, const void* from) { copies_of_thread().groups.back().push_back({to, from}); }
inline void copies_commit() { copies_of_thread().groups.emplace_back(); }
inline void copies_wait(int pending) {
  auto& groups = copies_of_thread().groups;
  while (groups.size() > static_cast<std::size_t>(pending) + 1) {
    for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, 16);
    groups.erase(groups.begin());
  }
}

}  // namespace athanor::cuda::mma_emulated
