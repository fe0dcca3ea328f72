#include "src/base/rng.hpp"

#include <bit>
#include <cmath>
#include <numbers>

namespace athanor {

std::array<double, 2> Philox::normal_pair(std::uint64_t pair) const {
  const auto w = words(pair);
  // (0, 1]: the logarithm needs a positive argument.
  const double u1 = (static_cast<double>(w[0]) + 1.0) * 0x1.0p-32;
  const double u2 = (static_cast<double>(w[1]) + static_cast<double>(w[2]) * 0x1.0p-32) * 0x1.0p-32;
  const double radius = std::sqrt(-2.0 * std::log(u1));
  const double angle = 2.0 * std::numbers::pi * u2;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

double Philox::normal(std::uint64_t index) const { return normal_pair(index / 2)[index % 2]; }

std::uint64_t permuted_index(const Philox& random, std::uint64_t count, std::uint64_t index) {
  if (count <= 1) return 0;
  const int half_bits = (static_cast<int>(std::bit_width(count - 1)) + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  do {
    std::uint64_t left = index >> half_bits, right = index & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t mixed = left ^ (random.word64(right ^ (round << 56)) & mask);
      left = right;
      right = mixed;
    }
    index = left << half_bits | right;
  } while (index >= count);
  return index;
}

}  // namespace athanor
