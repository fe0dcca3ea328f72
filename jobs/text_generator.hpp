// Text from a model: one prompt, several samples at once, with the key/value cache. Law: the token at a place depends
// on (seed, sample, place) and the tokens before it alone, not on how many samples run beside it.
#pragma once

#include <functional>
#include <vector>

#include "src/model/transformer.hpp"

namespace athanor {

struct GenerationOptions {
  SamplingArgs sampling;
  std::int64_t max_new_tokens = 256;
  std::int64_t samples = 1;
  std::uint64_t seed = 1;
  std::int32_t eos_id = -1;  ///< ends a sample; -1: none does
};

/// @param on_token  called with (sample, token) as they come, never with eos.
/// @returns the new tokens of each sample, eos left out.
/// @throws ConfigError when the prompt is empty or prompt and new tokens exceed the model's max_positions.
std::vector<std::vector<std::int32_t>> generate_tokens(
    Backend& ops, Transformer& model, const std::vector<std::int32_t>& prompt, const GenerationOptions& options,
    Stream& stream, const std::function<void(std::int64_t, std::int32_t)>& on_token = {});

}  // namespace athanor
