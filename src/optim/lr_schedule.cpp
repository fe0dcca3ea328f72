#include "src/optim/lr_schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/base/error.hpp"

namespace athanor {

std::vector<LrSegment> lr_segments(const LrOptions& options) {
  using enum LrSegment::Curve;
  const double floor = options.floor_ratio;
  if (options.schedule == "constant") return {{constant, 1.0, 1.0, 1.0}};
  if (options.schedule == "linear") return {{linear, 1.0, 1.0, floor}};
  if (options.schedule == "deepseek_r1_sft") return {{cosine, 1.0, 1.0, 0.1}};  // 5e-5 to 5e-6, students as well
  if (options.schedule == "cosine") return {{cosine, 1.0, 1.0, floor}};
  if (options.schedule == "wsd")  // warm-up, stable, decay: arXiv 2404.06395
    return {{constant, 1.0 - options.decay_fraction, 1.0, 1.0}, {linear, 1.0, 1.0, floor}};
  if (options.schedule == "deepseek_v3")  // of 14.8T tokens: constant, 4.3T of cosine, 333B, 167B
    return {{constant, 10.0 / 14.8, 1.0, 1.0},
            {cosine, 14.3 / 14.8, 1.0, 0.1},
            {constant, 14.633 / 14.8, 0.1, 0.1},
            {constant, 1.0, 7.3 / 220.0, 7.3 / 220.0}};
  if (options.schedule == "deepseek_v2_lite")
    return {{constant, 0.8, 1.0, 1.0}, {constant, 0.9, 0.316, 0.316}, {constant, 1.0, 0.316 * 0.316, 0.316 * 0.316}};
  throw ConfigError(
      fmt::format("optimizer.lr.schedule = '{}': choose constant, linear, cosine, wsd, deepseek_v3, deepseek_v2_lite "
                  "or deepseek_r1_sft",
                  options.schedule));
}

LrSchedule::LrSchedule(const LrOptions& options, std::int64_t run_tokens)
    : segments_(lr_segments(options)),
      peak_(options.peak),
      total_tokens_(static_cast<double>(options.total_tokens > 0 ? options.total_tokens : run_tokens)),
      warmup_steps_(options.warmup_steps) {
  if (total_tokens_ <= 0.0) throw ConfigError("optimizer.lr: the run has no tokens; set run.steps above 0");
}

double LrSchedule::rate(std::int64_t step, std::int64_t tokens_seen) const {
  const double warmup = step < warmup_steps_ ? static_cast<double>(step) / static_cast<double>(warmup_steps_) : 1.0;
  const double at = static_cast<double>(tokens_seen) / total_tokens_;
  double begin = 0.0;
  for (const LrSegment& segment : segments_) {
    if (at < segment.until) {
      const double x = (at - begin) / (segment.until - begin);
      const double fallen = segment.curve == LrSegment::Curve::cosine ? 0.5 - 0.5 * std::cos(std::numbers::pi * x) : x;
      return peak_ * warmup * (segment.from + (segment.to - segment.from) * fallen);
    }
    begin = segment.until;
  }
  return peak_ * warmup * segments_.back().to;
}

}  // namespace athanor
