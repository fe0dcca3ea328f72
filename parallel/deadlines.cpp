#include "parallel/deadlines.hpp"

#include <algorithm>

namespace athanor {

void Deadlines::set(const DeadlineOptions& options) {
  floor_ = options.floor;
  ceiling_ = options.ceiling;
  factor_ = options.factor;
}

void Deadlines::note(JobPhase phase, std::size_t kind, std::int64_t nanoseconds) {
  Seen& seen = seen_[static_cast<std::size_t>(phase) * kKinds + kind];
  constexpr auto relaxed = std::memory_order_relaxed;
  seen.times.store(seen.times.load(relaxed) + 1, relaxed);
  if (nanoseconds > seen.longest_ns.load(relaxed)) seen.longest_ns.store(nanoseconds, relaxed);
}

double Deadlines::longest(JobPhase phase, std::size_t kind) const {
  return static_cast<double>(seen(phase, kind).longest_ns.load(std::memory_order_relaxed)) * 1e-9;
}

Deadlines::Limit Deadlines::limit(JobPhase phase, std::size_t kind) const {
  Limit limit{.longest = longest(phase, kind)};
  const double scale = waits_for_files(phase) ? kFiles : 1.0, ceiling = scale * ceiling_;
  const bool known = seen(phase, kind).times.load(std::memory_order_relaxed) >= kEnough;
  limit.seconds = known ? std::min(ceiling, std::max(scale * floor_, factor_ * limit.longest)) : ceiling;
  return limit;
}

}  // namespace athanor
