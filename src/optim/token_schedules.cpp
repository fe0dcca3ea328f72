#include "src/optim/token_schedules.hpp"

#include <algorithm>

namespace athanor {

double phase_value(const PhaseOptions& options, std::int64_t tokens_seen, std::int64_t run_tokens) {
  const double switch_at = options.switch_fraction * static_cast<double>(run_tokens);
  return static_cast<double>(tokens_seen) < switch_at ? options.first : options.then;
}

BatchRamp::BatchRamp(const BatchRampOptions& options, std::int64_t batch_sequences)
    : options_(options), batch_sequences_(batch_sequences) {}

std::int64_t BatchRamp::sequences(std::int64_t tokens_seen) const {
  if (options_.start_sequences == 0 || tokens_seen >= options_.ramp_tokens) return batch_sequences_;
  const double part = static_cast<double>(tokens_seen) / static_cast<double>(options_.ramp_tokens);
  const double risen = static_cast<double>(batch_sequences_ - options_.start_sequences) * part;
  const std::int64_t exact = options_.start_sequences + static_cast<std::int64_t>(risen);
  return std::clamp(exact / options_.granule * options_.granule, options_.start_sequences, batch_sequences_);
}

std::int64_t tokens_of_run(std::int64_t steps, const BatchRamp& ramp, std::int64_t tokens_per_sequence) {
  std::int64_t seen = 0;
  for (std::int64_t step = 0; step < steps; ++step) seen += ramp.sequences(seen) * tokens_per_sequence;
  return seen;
}

}  // namespace athanor
