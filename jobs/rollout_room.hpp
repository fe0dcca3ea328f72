// How much room a stage gives its generation: [rl] of the options.
#pragma once

#include "io/options/job_options.hpp"
#include "parallel/rollout/rollout_engine.hpp"

namespace athanor {

/// @param slots  sequences at once.   @param sequence_tokens  of a prompt and its completion, at most.
inline RolloutEngine::Room rollout_room(const JobOptions& options, std::int64_t slots, std::int64_t sequence_tokens) {
  return {.size = {.slots = slots,
                   .sequence_tokens = sequence_tokens,
                   .page_tokens = options.rl.page_tokens,
                   .cache_tokens = options.rl.cache_tokens},
          .form = cache_form(options.run.numerics),
          .look_every = options.rl.look_every};
}

}  // namespace athanor
