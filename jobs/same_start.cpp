#include "jobs/same_start.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cmath>
#include <set>

#include "parallel/build_identity.hpp"

namespace athanor {
namespace {

constexpr double kClockSkew = 1.0;  // seconds; far above what a barrier takes

void warn_of_clocks(HostGroup& world) {
  world.barrier();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string mine = fmt::format("{}", std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  const auto clocks = world.all_gather(std::string_view(mine)), hosts = world.all_gather(world.host_name());
  if (world.rank() != 0) return;
  std::set<std::string> told;
  for (std::size_t rank = 0; rank < clocks.size(); ++rank) {
    const double skew = (std::stod(clocks[rank]) - std::stod(clocks[0])) * 1e-3;
    if (std::abs(skew) <= kClockSkew || !told.insert(hosts[rank]).second) continue;
    spdlog::warn(
        "the clock of rank {} ({}) is {:.1f} s {} that of rank 0 ({}); set it (NTP), or logs and time limits "
        "will mislead",
        rank, hosts[rank], std::abs(skew), skew > 0.0 ? "ahead of" : "behind", hosts[0]);
  }
}

}  // namespace

void check_same_start(HostGroup& world, const std::string& config_text) {
  world.check_same_text("the build of the program", build_identity());
  world.check_same_text("the resolved configuration", config_text);
  warn_of_clocks(world);
}

}  // namespace athanor
