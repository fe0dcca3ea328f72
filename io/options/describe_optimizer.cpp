// Names, units and help of section [optimizer].
#include "io/options/job_options.hpp"

namespace athanor {
namespace {

void describe_phase(OptionTable& table, const std::string& name, PhaseOptions& phase, const std::string& what) {
  table.add(name, phase.first, "number", what);
  table.add(name + "_late", phase.then, "number", "the same in the last part of the run");
  table.add(name + "_switch", phase.switch_fraction, "fraction",
            "of the run's tokens after which " + name + "_late holds", kFraction);
}

}  // namespace

void describe(OptionTable& table, OptimizerOptions& optimizer) {
  table.section("optimizer", "[optimizer] AdamW and what changes while a run goes on");
  table.add("lr", optimizer.lr.peak, "rate", "largest learning rate");
  table.add("schedule", optimizer.lr.schedule,
            "constant|linear|cosine|wsd|deepseek_v3|deepseek_v2_lite|deepseek_r1_sft",
            "course of the learning rate over the run's tokens");
  table.add("warmup_steps", optimizer.lr.warmup_steps, "steps", "in which the rate rises from 0");
  table.add("lr_floor", optimizer.lr.floor_ratio, "fraction", "linear, cosine, wsd: last rate over the largest",
            kFraction);
  table.add("decay_fraction", optimizer.lr.decay_fraction, "fraction",
            "wsd: last part of the run, in which the rate falls", kFraction);
  table.add("total_tokens", optimizer.lr.total_tokens, "tokens", "where the schedule ends; 0: where the run ends");
  table.add("beta1", optimizer.adamw.beta1, "number", "decay of the first moment", kFraction);
  table.add("beta2", optimizer.adamw.beta2, "number", "decay of the second moment", kFraction);
  table.add("eps", optimizer.adamw.eps, "number", "added to the root of the second moment");
  table.add("weight_decay", optimizer.adamw.weight_decay, "number", "decoupled; norms and biases are left out");
  table.add("clip_norm", optimizer.adamw.clip_norm, "number", "largest global gradient norm; 0: no clipping");
  table.add("bf16_moments", optimizer.adamw.bf16_moments, "keep the moments in bf16");
  describe_phase(table, "mtp_weight", optimizer.mtp_weight, "weight of the multi-token prediction losses");
  describe_phase(table, "bias_speed", optimizer.bias_speed, "step of the routers' selection biases");
  table.add("ramp_start_sequences", optimizer.batch_ramp.start_sequences, "sequences",
            "in the first steps; grows to data.batch_sequences; 0: no ramp");
  table.add("ramp_tokens", optimizer.batch_ramp.ramp_tokens, "tokens", "over which the batch grows");
  table.add("ramp_granule", optimizer.batch_ramp.granule, "sequences", "the growing batch is a multiple of", kPositive);
  table.add("skip_z", optimizer.spike_guard.z_threshold, "deviations",
            "skip updates whose loss or gradient norm lies so far above the recent mean; 0: never");
  table.add("skip_window", optimizer.spike_guard.window, "steps", "that the mean is taken over", kPositive);
}

}  // namespace athanor
