// Learning rate as a function of tokens seen, in pieces, times a linear warm-up in steps.
// Law: pure functions of (step, tokens); nothing to save. A piece covers [end of the piece before, until) in fractions
// of the total; past the last piece its end value holds.
// Sources: DeepSeek-V3 report section 4.2 (FACTS 2.1 has the golden values); DeepSeek-V2 report section 3.1.
#pragma once

#include <cstdint>
#include <vector>

#include "src/optim/optimizer_options.hpp"

namespace athanor {

struct LrSegment {
  enum class Curve : std::uint8_t { constant, linear, cosine };
  Curve curve;
  double until;     ///< fraction of the total tokens
  double from, to;  ///< multiples of the peak
};

/// The pieces of options.schedule. @throws ConfigError naming the schedules there are.
std::vector<LrSegment> lr_segments(const LrOptions& options);

class LrSchedule {
 public:
  /// @param run_tokens  all tokens of the run; used where options.total_tokens is 0.
  LrSchedule(const LrOptions& options, std::int64_t run_tokens);

  /// @param step  from 1: the step about to be taken.   @param tokens_seen  before it.
  double rate(std::int64_t step, std::int64_t tokens_seen) const;

 private:
  std::vector<LrSegment> segments_;
  double peak_, total_tokens_;
  std::int64_t warmup_steps_;
};

}  // namespace athanor
