// What names the random draw of a token that is generated. Law: a pure function of prompt, sibling and place, the same
// on every device (src/backend/cuda/generation_kernels.cu has it again).
#pragma once

#include <cstdint>

#include "src/base/rng.hpp"

namespace athanor {

/// The key with which token number `count` of a prompt's sibling is drawn (Backend::sample).
constexpr std::int64_t sampling_key(std::int64_t prompt, std::int32_t sibling, std::int32_t count) {
  const auto words = philox4x32({static_cast<std::uint32_t>(prompt), static_cast<std::uint32_t>(prompt >> 32),
                                 static_cast<std::uint32_t>(sibling), static_cast<std::uint32_t>(count)},
                                {0x243F6A88U, 0x85A308D3U});
  return static_cast<std::int64_t>(std::uint64_t{words[0]} << 32 | words[1]);
}

}  // namespace athanor
