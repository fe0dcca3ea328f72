// The random numbers of src/base/rng.hpp on the device: the same words of the same (seed, purpose, stream) and index.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), Philox4x32-10.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace athanor::cuda {

struct PhiloxWords {
  std::uint32_t at[4];
};
/// philox4x32 of the counter (c0, c1, c2, c3) and the key (k0, k1).
__device__ inline PhiloxWords device_philox4x32(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                                                std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c0, p1 = std::uint64_t{0xCD9E8D57U} * c2;
    c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {{c0, c1, c2, c3}};
}

struct DevicePhilox {
  std::uint32_t key[2], stream[2];

  /// @param purpose  number of a RandomPurpose.
  __host__ __device__ DevicePhilox(std::uint64_t seed, std::uint32_t purpose, std::uint64_t of_stream)
      : key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        stream{static_cast<std::uint32_t>(of_stream ^ (of_stream >> 32) * 0x9E3779B9U),
               static_cast<std::uint32_t>(purpose) * 0x85EBCA6BU ^ static_cast<std::uint32_t>(of_stream >> 32)} {}

  __device__ PhiloxWords words(std::uint64_t index) const {
    return device_philox4x32(static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), stream[0],
                             stream[1], key[0], key[1]);
  }
  /// Uniform in [0, 1) with 53 bits.
  __device__ double uniform(std::uint64_t index) const {
    const PhiloxWords w = words(index);
    return static_cast<double>((std::uint64_t{w.at[0]} << 32 | w.at[1]) >> 11) * 0x1.0p-53;
  }
  /// Standard normal: Box-Muller, two normals a counter.
  __device__ double normal(std::uint64_t index) const {
    constexpr double kTwoPi = 6.283185307179586476925;
    const PhiloxWords w = words(index / 2);
    // (0, 1]: the logarithm needs a positive argument.
    const double u1 = (static_cast<double>(w.at[0]) + 1.0) * 0x1.0p-32;
    const double u2 = (static_cast<double>(w.at[1]) + static_cast<double>(w.at[2]) * 0x1.0p-32) * 0x1.0p-32;
    const double radius = sqrt(-2.0 * log(u1)), angle = kTwoPi * u2;
    return radius * (index % 2 == 0 ? cos(angle) : sin(angle));
  }
};

}  // namespace athanor::cuda
