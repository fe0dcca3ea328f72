// How rotary frequencies are made: the base, and the stretch for contexts longer than the first training's.
#pragma once

#include <cstdint>

namespace athanor {

enum class RopeScaling : std::uint8_t { none, yarn, llama3 };

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::none;
  double factor = 40.0;
  std::int64_t original_max_positions = 4096;
  double beta_fast = 32.0, beta_slow = 1.0;   ///< YaRN
  double mscale = 1.0, mscale_all_dim = 1.0;  ///< YaRN; the softmax scale is multiplied by m(factor, mscale_all_dim)^2
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  ///< Llama-3
};

}  // namespace athanor
