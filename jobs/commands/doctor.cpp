// athanor doctor: what a job would find on these machines, before it is started.
#include <fmt/format.h>

#include <algorithm>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/doctor/rank_health.hpp"
#include "jobs/environment.hpp"

namespace athanor {
namespace {

void show(const std::vector<RankHealth>& ranks, const std::vector<Finding>& findings, const HealthOptions& options) {
  fmt::print("{:>5}  {:<16} {:>5} {:>7} {:>9} {:>9} {:>6} {:>10} {:>10} {:>9} {:>15}\n", "rank", "host", "cores",
             "threads", "memory GB", "free GB", "GPUs", "f32 GF/s", "bf16 GF/s", "copy GB/s", "slowest peer");
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const RankHealth& rank = ranks[r];
    const auto number = [](double value, double unit) {
      return value > 0.0 ? fmt::format("{:.1f}", value * unit) : std::string("-");
    };
    const std::string peer = rank.slowest_peer.rank < 0 ? "-"
                                                        : fmt::format("{}: {:.2f} GB/s", rank.slowest_peer.rank,
                                                                      rank.slowest_peer.bytes_per_second * 1e-9);
    fmt::print("{:>5}  {:<16} {:>5} {:>7} {:>9.1f} {:>9.1f} {:>6} {:>10} {:>10} {:>9} {:>15}\n", r, rank.host,
               rank.cores, rank.threads, rank.memory * 1e-9, rank.memory_free * 1e-9, rank.devices.size(),
               number(rank.f32_flops, 1e-9), number(rank.bf16_flops, 1e-9), number(rank.copy_bytes_per_second, 1e-9),
               peer);
  }
  for (const std::string& device : ranks.front().devices) fmt::print("rank 0: {}\n", device);
  fmt::print("{}: {:.1f} GB free\n", options.folder, ranks.front().folder_free * 1e-9);
  for (const Finding& finding : findings) fmt::print("{}: {}\n", finding.bad ? "BAD" : "note", finding.text);
}

}  // namespace

int doctor_command(const std::vector<std::string>& words, HostGroup& world) {
  HealthOptions health;
  OptionTable own;
  own.section("", "doctor");
  own.add("all-ranks", health.all_ranks,
          "every rank measures its products and copies, and messages to every other rank; else rank 0 alone measures");
  own.add("outlier", health.outlier, "fraction", "of the median: a rank below it is named", kFraction);
  JobOptions options;
  OptionTable shared;
  describe(shared, options);
  const Invocation invocation = parse_invocation(words, {{&own, &shared}, ""});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor doctor [--all-ranks=true] [--run.folder=FOLDER]\n\nWhat a job would find here: machines, cores, "
          "memory, devices, the folder of runs, one binary and one clock everywhere,\nthe sandbox of rewards; ranks "
          "and links that are slower than the others. Status 1 when something is bad.\n\n{}",
          own.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  options = configuration.job();
  health.folder = options.run.folder;
  const Environment environment(options, world);  // what a run does first: threads, devices, mesh
  std::vector<RankHealth> ranks;
  for (const std::string& text : world.all_gather(to_text(examine(world, health))))
    ranks.push_back(health_from_text(text));
  const std::vector<Finding> findings = judge(ranks, health);
  const auto bad = std::count_if(findings.begin(), findings.end(), [](const Finding& f) { return f.bad; });
  if (world.rank() == 0) {
    show(ranks, findings, health);
    fmt::print("{}\n", bad == 0 ? "nothing bad was found" : fmt::format("{} bad findings", bad));
  }
  return bad == 0 ? kExitComplete : 1;
}

}  // namespace athanor
