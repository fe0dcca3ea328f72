// What the optimizer and its schedules are told: plain structs that io/options binds to names. Defaults are
// DeepSeek-V3's where it published them (report section 4.2).
// Law: points in time are fractions of the run's tokens, so that a recipe keeps its shape when a run gets shorter.
// The batch ramp alone counts in tokens: how many tokens a run sees depends on it.
#pragma once

#include <cstdint>
#include <string>

namespace athanor {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  ///< decoupled; not applied to norms and biases
  double clip_norm = 1.0;     ///< largest global gradient norm; 0: no clipping
  bool bf16_moments = false;  ///< moments in bf16 instead of the accumulation type

  void validate() const;
};

struct LrOptions {
  std::string schedule = "cosine";  ///< constant, linear, cosine, wsd, deepseek_v3, deepseek_v2_lite or deepseek_r1_sft
  double peak = 3e-4;
  std::int64_t warmup_steps = 0;  ///< linear from 0; multiplies the schedule
  double floor_ratio = 0.1;       ///< linear, cosine, wsd: end value over peak
  double decay_fraction = 0.2;    ///< wsd: the last part of the run, in which the rate falls
  std::int64_t total_tokens = 0;  ///< where the schedule ends; 0: where the run ends

  void validate() const;
};

/// A value that changes once.
struct PhaseOptions {
  double first = 0.0, then = 0.0;
  double switch_fraction = 1.0;  ///< of the run's tokens
};

/// Batch-size ramp: sequences a step grow from `start_sequences` to the full batch over the first tokens.
struct BatchRampOptions {
  std::int64_t start_sequences = 0;  ///< 0: no ramp
  std::int64_t ramp_tokens = 0;      ///< tokens over which the batch grows; V3: 469B
  std::int64_t granule = 1;          ///< sequences are a multiple of this

  /// @param batch_sequences  the full batch.
  void validate(std::int64_t batch_sequences) const;
};

/// Skips updates on steps whose loss or gradient norm is an outlier.
struct SpikeGuardOptions {
  double z_threshold = 0.0;   ///< standard deviations above the mean; 0: off
  std::int64_t window = 128;  ///< steps that mean and deviation are taken over

  void validate() const;
};

/// The section [optimizer].
struct OptimizerOptions {
  AdamWOptions adamw;
  LrOptions lr;
  PhaseOptions mtp_weight{0.3, 0.1, 10.0 / 14.8};   ///< lambda of the MTP loss
  PhaseOptions bias_speed{1e-3, 0.0, 14.3 / 14.8};  ///< gamma of the router bias update
  BatchRampOptions batch_ramp;
  SpikeGuardOptions spike_guard;

  /// @throws ConfigError naming the key, the value and what would do.
  void validate(std::int64_t batch_sequences) const;
};

/// What DeepSeek-V3 was trained with, 14.8T tokens in all (FACTS 2.1; report section 4.2).
OptimizerOptions deepseek_v3_optimizer();

}  // namespace athanor
