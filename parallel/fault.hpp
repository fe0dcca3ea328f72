// A fault made on purpose: one rank breaks at a chosen place. For rehearsing how a job ends, and for its tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "parallel/job_phase.hpp"

namespace athanor {

struct Fault {
  enum class Kind : std::uint8_t {
    throw_error,
    kill,   ///< SIGKILL: no word, no cleaning up
    stop,   ///< SIGSTOP: there, and silent
    hang,   ///< sleeps for ever
    delay,  ///< sleeps for `seconds`, and again in every later step, or at every later writing
    nan     ///< its loss is not a number; has neither axis nor phase
  } kind = Kind::throw_error;
  int rank = 0;
  std::string axis;               ///< as to_string(Axis) writes it, or "ends": in `step`; empty: in `phase`
  std::optional<JobPhase> phase;  ///< of the stage
  std::int64_t step = 1;          ///< of the stage, from 1
  /// Of that rank along that axis within that step, or in that phase, from 1; tensors and host messages count. In
  /// JobPhase::writing, of the shards it writes.
  std::int64_t call = 1;
  double seconds = 1.0;

  /// What is silent keeps the rank from arriving at its call; what ends it does so in the call.
  bool happens_before_the_call() const { return kind == Kind::stop || kind == Kind::hang || kind == Kind::delay; }
};

/// Reads "throw@rank=1:axis=ep:step=3:call=2", "kill@phase=rollout", "delay@axis=data:seconds=0.5",
/// "nan@rank=1:step=7". Left out: rank 0, step 1, call 1, seconds 1; an axis or a phase must be named, but for nan.
/// @throws ConfigError saying what is wrong.
Fault parse_fault(std::string_view text);

/// The inverse of parse_fault, every part written out.
std::string to_string(const Fault& fault);

/// Does it, here and now; nan is left to what computes the loss. @throws Error for throw_error.
void happen(const Fault& fault);

}  // namespace athanor
