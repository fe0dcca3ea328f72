// Counter-based random numbers. Law: every random number is a pure function of (seed, purpose, global index), never of
// a state, a thread or a rank; so a tensor, a batch or a sample is the same on every layout and after every restart.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), Philox4x32-10.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace athanor {

/// What a random number is for; keeps streams of one seed apart. Values are part of the restart contract: append only.
enum class RandomPurpose : std::uint32_t {
  weight_init = 1,
  data_order = 2,
  data_mixture = 3,
  fim = 4,
  sampling = 5,
  test = 6,
  task = 7,
  bootstrap = 8
};

/// Philox4x32 with 10 rounds: four uniform 32-bit words of (key, counter).
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key = {key[0] + 0x9E3779B9U, key[1] + 0xBB67AE85U};
  }
  return counter;
}

/// FNV-1a, 64 bit: a stable id of a name (a parameter, a stage), the same in every build.
constexpr std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3U;
  return hash;
}

/// Random words of one (seed, purpose, stream): `stream` separates uses (a tensor's name hash, a prompt id).
class Philox {
 public:
  constexpr Philox(std::uint64_t seed, RandomPurpose purpose, std::uint64_t stream = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        stream_{static_cast<std::uint32_t>(stream ^ (stream >> 32) * 0x9E3779B9U),
                static_cast<std::uint32_t>(purpose) * 0x85EBCA6BU ^ static_cast<std::uint32_t>(stream >> 32)} {}

  /// Four uniform words number `index`.
  constexpr std::array<std::uint32_t, 4> words(std::uint64_t index) const {
    return philox4x32(
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), stream_[0], stream_[1]}, key_);
  }
  /// Uniform 64-bit word number `index`.
  constexpr std::uint64_t word64(std::uint64_t index) const {
    const auto w = words(index);
    return std::uint64_t{w[0]} << 32 | w[1];
  }
  /// Uniform in [0, 1) with 53 bits.
  constexpr double uniform(std::uint64_t index) const { return static_cast<double>(word64(index) >> 11) * 0x1.0p-53; }
  /// Standard normal number `index` (Box-Muller on words; two normals a counter).
  double normal(std::uint64_t index) const;
  /// Standard normals number 2*pair and 2*pair+1, for the price of one.
  std::array<double, 2> normal_pair(std::uint64_t pair) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 2> stream_;
};

/// A permutation of [0, count) computed point-wise in O(1): a four-round Feistel network on the next power of four with
/// cycle walking. @returns where `index` goes.
std::uint64_t permuted_index(const Philox& random, std::uint64_t count, std::uint64_t index);

}  // namespace athanor
