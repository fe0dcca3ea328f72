#include "jobs/stages/step_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace athanor {

std::array<Scalar, 3> Straggler::scalars() const {
  return {{{"straggler/rank", static_cast<double>(rank)},
           {"straggler/own_seconds", seconds},
           {"straggler/median_seconds", median}}};
}

std::string to_string(const Straggler& straggler) {
  return fmt::format(
      "rank {} ({}) takes {:.3f} s a step by itself, {:.1f} times the median of all ranks ({:.3f} s; "
      "run.straggler_factor); look for another load, a clock or power limit, a slow disk, or leave the node out",
      straggler.rank, straggler.host, straggler.seconds, straggler.seconds / std::max(1e-9, straggler.median),
      straggler.median);
}

std::optional<Straggler> find_straggler(std::span<const std::int64_t> nanoseconds, double factor) {
  std::vector<std::int64_t> sorted(nanoseconds.begin(), nanoseconds.end());
  // The lower one: of two ranks the faster is what the slower is compared with.
  const auto middle = sorted.begin() + (std::ssize(sorted) - 1) / 2;
  std::nth_element(sorted.begin(), middle, sorted.end());
  const auto slowest = std::max_element(nanoseconds.begin(), nanoseconds.end());
  Straggler found{.rank = static_cast<int>(slowest - nanoseconds.begin()),
                  .host = {},
                  .seconds = static_cast<double>(*slowest) * 1e-9,
                  .median = static_cast<double>(*middle) * 1e-9};
  if (found.seconds <= factor * found.median || found.seconds < found.median + StepTimes::kNoise) return std::nullopt;
  return found;
}

void StepTimes::begin() {
  begun_ = Clock::now();
  in_calls_at_begin_ = in_calls();
}

void StepTimes::end(std::int64_t steps) {
  const auto wall = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begun_).count();
  own_ns_ += wall - (in_calls() - in_calls_at_begin_);
  steps_ += steps;
}

std::optional<Straggler> StepTimes::report(HostGroup& world, double factor) {
  if (world.size() == 1 || factor <= 0.0) return std::nullopt;
  const std::int64_t mine = own_ns_ / std::max<std::int64_t>(1, steps_);
  own_ns_ = steps_ = 0;
  std::optional<Straggler> found = find_straggler(world.all_gather(mine), factor);
  if (found) found->host = world.broadcast(world.host_name(), found->rank);
  return found;
}

}  // namespace athanor
