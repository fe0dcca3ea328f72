#include "src/optim/optimizer_options.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"
#include "src/optim/lr_schedule.hpp"

namespace athanor {
namespace {

void require(bool ok, std::string_view key, double value, std::string_view wanted) {
  if (!ok) throw ConfigError(fmt::format("optimizer.{} = {}: wanted {}", key, value, wanted));
}

void validate_phase(const PhaseOptions& phase, std::string_view key) {
  require(phase.first >= 0.0, fmt::format("{}.first", key), phase.first, "at least 0");
  require(phase.then >= 0.0, fmt::format("{}.then", key), phase.then, "at least 0");
  require(phase.switch_fraction >= 0.0 && phase.switch_fraction <= 1.0, fmt::format("{}.switch_fraction", key),
          phase.switch_fraction, "a fraction of the run from 0 to 1");
}

}  // namespace

void AdamWOptions::validate() const {
  require(beta1 >= 0.0 && beta1 < 1.0, "beta1", beta1, "at least 0 and below 1");
  require(beta2 >= 0.0 && beta2 < 1.0, "beta2", beta2, "at least 0 and below 1");
  require(eps > 0.0, "eps", eps, "above 0");
  require(weight_decay >= 0.0, "weight_decay", weight_decay, "at least 0");
  require(clip_norm >= 0.0, "clip_norm", clip_norm, "above 0, or 0 for no clipping");
}

void LrOptions::validate() const {
  lr_segments(*this);  // knows the names
  require(peak > 0.0, "lr.peak", peak, "above 0");
  require(warmup_steps >= 0, "lr.warmup_steps", static_cast<double>(warmup_steps), "at least 0");
  require(floor_ratio >= 0.0 && floor_ratio <= 1.0, "lr.floor_ratio", floor_ratio, "from 0 to 1");
  require(decay_fraction > 0.0 && decay_fraction <= 1.0, "lr.decay_fraction", decay_fraction, "above 0 and at most 1");
  require(total_tokens >= 0, "lr.total_tokens", static_cast<double>(total_tokens),
          "above 0, or 0 for the tokens of the run");
}

void BatchRampOptions::validate(std::int64_t batch_sequences) const {
  require(granule >= 1, "batch_ramp.granule", static_cast<double>(granule), "at least 1");
  if (start_sequences == 0) return;
  require(start_sequences > 0 && start_sequences <= batch_sequences, "batch_ramp.start_sequences",
          static_cast<double>(start_sequences),
          fmt::format("from 1 to data.batch_sequences = {}, or 0 for no ramp", batch_sequences));
  require(start_sequences % granule == 0 && batch_sequences % granule == 0, "batch_ramp.granule",
          static_cast<double>(granule),
          fmt::format("a divisor of batch_ramp.start_sequences = {} and data.batch_sequences = {}", start_sequences,
                      batch_sequences));
  require(ramp_tokens > 0, "batch_ramp.ramp_tokens", static_cast<double>(ramp_tokens), "above 0");
}

void SpikeGuardOptions::validate() const {
  require(z_threshold >= 0.0, "spike_guard.z_threshold", z_threshold, "above 0, or 0 for off");
  require(window >= 4 && window <= 65536, "spike_guard.window", static_cast<double>(window), "from 4 to 65536 steps");
}

void OptimizerOptions::validate(std::int64_t batch_sequences) const {
  adamw.validate();
  lr.validate();
  validate_phase(mtp_weight, "mtp_weight");
  validate_phase(bias_speed, "bias_speed");
  batch_ramp.validate(batch_sequences);
  spike_guard.validate();
}

OptimizerOptions deepseek_v3_optimizer() {
  OptimizerOptions options;
  options.lr = {.schedule = "deepseek_v3", .peak = 2.2e-4, .warmup_steps = 2000, .total_tokens = 14'800'000'000'000};
  options.batch_ramp = {.start_sequences = 3072, .ramp_tokens = 469'000'000'000, .granule = 64};
  return options;
}

}  // namespace athanor
