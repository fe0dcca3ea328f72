// The other things that change with the tokens seen: the weight of the MTP loss, the speed of the router biases, the
// batch size. Law: pure functions of the tokens seen; nothing to save.
#pragma once

#include <cstdint>

#include "src/optim/optimizer_options.hpp"

namespace athanor {

/// options.first until switch_fraction of run_tokens are seen, then options.then.
double phase_value(const PhaseOptions& options, std::int64_t tokens_seen, std::int64_t run_tokens);

/// Sequences in each step. Rises linearly in tokens seen from start_sequences to the full batch, rounded down to a
/// multiple of the granule. (DeepSeek-V3 published the ends of its ramp, not the shape; report section 4.2.)
class BatchRamp {
 public:
  /// @param batch_sequences  the full batch.
  BatchRamp(const BatchRampOptions& options, std::int64_t batch_sequences);
  std::int64_t sequences(std::int64_t tokens_seen) const;

 private:
  BatchRampOptions options_;
  std::int64_t batch_sequences_;
};

/// Tokens that a run of this many steps sees.
std::int64_t tokens_of_run(std::int64_t steps, const BatchRamp& ramp, std::int64_t tokens_per_sequence);

}  // namespace athanor
