#include "io/checkpoint/slow_disk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace athanor {
namespace {
constexpr double kWorthALine = 1.0, kTimes = 3.0;
}

double median_seconds(std::span<const WriteTime> ranks) {
  std::vector<double> sorted;
  for (const WriteTime& rank : ranks) sorted.push_back(rank.seconds);
  const auto middle = sorted.begin() + (std::ssize(sorted) - 1) / 2;
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

std::string slow_disk(std::span<const WriteTime> ranks, double usual) {
  const double median = median_seconds(ranks);
  const auto slowest = std::max_element(ranks.begin(), ranks.end(),
                                        [](const WriteTime& a, const WriteTime& b) { return a.seconds < b.seconds; });
  if (slowest->seconds >= std::max(kWorthALine, kTimes * median))
    return fmt::format("slow disk: rank {} ({}) took {:.1f} s to write its shard, the median of all ranks is {:.2f} s",
                       slowest - ranks.begin(), slowest->host, slowest->seconds, median);
  if (usual > 0.0 && median >= std::max(kWorthALine, kTimes * usual))
    return fmt::format("slow disk: ranks took {:.1f} s (median) to write their shards, {:.2f} s at best before", median,
                       usual);
  return {};
}

}  // namespace athanor
