#include "jobs/doctor/rank_health.hpp"

#include <fmt/format.h>
#include <omp.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "jobs/machine_ceiling.hpp"
#include "jobs/shared_folder.hpp"
#include "parallel/agreement.hpp"
#include "parallel/build_identity.hpp"
#include "parallel/message_speed.hpp"
#include "src/base/error.hpp"
#include "src/sandbox/sandbox.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kMessageBytes = std::int64_t{4} << 20;

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
}

/// A line of /proc/meminfo in bytes.
double memory_line(const std::string& name) {
  std::ifstream in("/proc/meminfo");
  for (std::string word; in >> word;)
    if (word == name + ":") {
      double kilobytes = 0.0;
      in >> kilobytes;
      return kilobytes * 1024.0;
    }
  return 0.0;
}

double free_bytes(const std::filesystem::path& path) {
  std::error_code error;
  const auto space = std::filesystem::space(path, error);
  return error ? 0.0 : static_cast<double>(space.available);
}

std::string sandbox_fault() {
  try {
    const Sandbox sandbox({.helper = {}, .slots = 1});
    return {};
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// Whether what rank 0 writes into the folder is seen here.
/// @param free  gets the bytes free there
bool sees(HostGroup& world, const std::filesystem::path& folder, double& free) {
  bool was_there = true, seen = false;
  try {
    on_first_rank(world, [&] {
      was_there = std::filesystem::exists(folder);
      std::filesystem::create_directories(folder);
    });
    seen = sees_what_rank_0_writes(world, folder);
  } catch (const std::exception& error) {
    throw ConfigError("doctor: runs cannot be written to " + folder.string() + ": " + error.what());
  }
  free = free_bytes(folder);
  world.barrier();
  if (world.rank() == 0 && !was_there) {
    std::error_code ignored;
    std::filesystem::remove(folder, ignored);
  }
  return seen;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

std::string at(const std::vector<RankHealth>& ranks, std::size_t r) {
  return fmt::format("rank {} on {}", r, ranks[r].host);
}

/// Ranks whose number is far below the others'.
template <class F>
void find_slow(std::vector<Finding>& findings, const std::vector<RankHealth>& ranks, double outlier, const char* what,
               const F& number) {
  std::vector<double> measured;
  for (const RankHealth& rank : ranks)
    if (number(rank) > 0.0) measured.push_back(number(rank));
  const double middle = median(measured);
  for (std::size_t r = 0; r < ranks.size(); ++r)
    if (number(ranks[r]) > 0.0 && number(ranks[r]) < outlier * middle)
      findings.push_back({true, fmt::format("{}: {} is {:.0f} % of the median of all ranks; look for another load, a "
                                            "clock or power limit, or leave the node out",
                                            at(ranks, r), what, 100.0 * number(ranks[r]) / middle)});
}

}  // namespace

RankHealth examine(HostGroup& world, const HealthOptions& options) {
  RankHealth health;
  health.host = world.host_name();
  health.cores = usable_cores();
  health.threads = omp_get_max_threads();
  health.memory = memory_line("MemTotal");
  health.memory_free = memory_line("MemAvailable");
  health.shared_memory_free = free_bytes("/dev/shm");
  health.program = build_identity();
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) health.open_files = static_cast<std::int64_t>(files.rlim_cur);
  health.sandbox = sandbox_fault();
  for (const std::string& device : available_devices())
    if (device.starts_with("cuda"))
      health.devices.push_back(fmt::format("{}: {}", device, make_backend(device)->description()));
  health.sees_folder = sees(world, options.folder, health.folder_free);
  if (options.all_ranks || world.rank() == 0) {
    const auto ops = make_backend("cpu");
    const auto stream = ops->make_stream();
    health.f32_flops = measure_gemm_peak(*ops, DType::f32, *stream);
    health.bf16_flops = measure_gemm_peak(*ops, DType::bf16, *stream);
    health.copy_bytes_per_second = measure_copy_bandwidth(*ops, *stream);
  }
  if (options.all_ranks)
    for (const MessageSpeed& speed : measure_messages(world, kMessageBytes))
      if (health.slowest_peer.rank < 0 || speed.bytes_per_second < health.slowest_peer.bytes_per_second)
        health.slowest_peer = {speed.peer, speed.bytes_per_second};
  world.barrier();
  health.clock_seconds = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return health;
}

std::string to_text(const RankHealth& h) {
  return nlohmann::json{{"host", h.host},
                        {"cores", h.cores},
                        {"threads", h.threads},
                        {"memory", h.memory},
                        {"memory_free", h.memory_free},
                        {"shared_memory_free", h.shared_memory_free},
                        {"folder_free", h.folder_free},
                        {"sees_folder", h.sees_folder},
                        {"clock_seconds", h.clock_seconds},
                        {"program", h.program},
                        {"open_files", h.open_files},
                        {"sandbox", h.sandbox},
                        {"devices", h.devices},
                        {"f32_flops", h.f32_flops},
                        {"bf16_flops", h.bf16_flops},
                        {"copy_bytes_per_second", h.copy_bytes_per_second},
                        {"slowest_peer", h.slowest_peer.rank},
                        {"slowest_peer_bytes_per_second", h.slowest_peer.bytes_per_second}}
      .dump();
}

RankHealth health_from_text(const std::string& text) {
  const auto json = nlohmann::json::parse(text);
  RankHealth h;
  h.host = json.at("host");
  h.cores = json.at("cores");
  h.threads = json.at("threads");
  h.memory = json.at("memory");
  h.memory_free = json.at("memory_free");
  h.shared_memory_free = json.at("shared_memory_free");
  h.folder_free = json.at("folder_free");
  h.sees_folder = json.at("sees_folder");
  h.clock_seconds = json.at("clock_seconds");
  h.program = json.at("program");
  h.open_files = json.at("open_files");
  h.sandbox = json.at("sandbox");
  h.devices = json.at("devices").get<std::vector<std::string>>();
  h.f32_flops = json.at("f32_flops");
  h.bf16_flops = json.at("bf16_flops");
  h.copy_bytes_per_second = json.at("copy_bytes_per_second");
  h.slowest_peer = {json.at("slowest_peer"), json.at("slowest_peer_bytes_per_second")};
  return h;
}

std::vector<Finding> judge(const std::vector<RankHealth>& ranks, const HealthOptions& options) {
  constexpr double kClockSkew = 1.0, kLeastSharedMemory = 64e6;
  constexpr std::int64_t kLeastOpenFiles = 1024;
  std::vector<Finding> findings;
  const RankHealth& first = ranks.front();
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const RankHealth& rank = ranks[r];
    const auto bad = [&](const std::string& text) { findings.push_back({true, at(ranks, r) + ": " + text}); };
    if (rank.program != first.program)
      bad("another binary than rank 0's; start all ranks from one folder, and rebuild or copy it there");
    if (!rank.sees_folder)
      bad(fmt::format("does not see what rank 0 writes to {}; choose a folder on a file system that all nodes share",
                      options.folder));
    if (const double skew = rank.clock_seconds - first.clock_seconds; std::abs(skew) > kClockSkew)
      bad(fmt::format("its clock is {:.1f} s {} rank 0's; set it (NTP), or logs and time limits will mislead",
                      std::abs(skew), skew > 0 ? "ahead of" : "behind"));
    if (rank.open_files < kLeastOpenFiles)
      bad(fmt::format("may open {} files, wanted at least {}; raise `ulimit -n`", rank.open_files, kLeastOpenFiles));
    if (rank.devices.size() != first.devices.size())
      bad(fmt::format("has {} GPUs, rank 0's machine {}; a driver may be missing there", rank.devices.size(),
                      first.devices.size()));
    const bool first_of_host = std::none_of(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(r),
                                            [&](const RankHealth& other) { return other.host == rank.host; });
    if (!first_of_host) continue;
    std::int64_t threads = 0;
    for (const RankHealth& other : ranks) threads += other.host == rank.host ? other.threads : 0;
    const auto host = [&](const std::string& text) { findings.push_back({false, rank.host + ": " + text}); };
    if (threads > rank.cores)
      host(
          fmt::format("{} threads of all its ranks on {} cores; set OMP_NUM_THREADS or run.threads, or start fewer "
                      "ranks",
                      threads, rank.cores));
    if (rank.shared_memory_free < kLeastSharedMemory)
      host(fmt::format("{:.0f} MB free in /dev/shm; MPI between ranks of a machine wants at least {:.0f}",
                       rank.shared_memory_free * 1e-6, kLeastSharedMemory * 1e-6));
    if (!rank.sandbox.empty()) host("rewards that run programs will be refused: " + rank.sandbox);
  }
  find_slow(findings, ranks, options.outlier, "its matrix product (f32)",
            [](const RankHealth& r) { return r.f32_flops; });
  find_slow(findings, ranks, options.outlier, "its memory bandwidth",
            [](const RankHealth& r) { return r.copy_bytes_per_second; });
  // Links are compared with links; a half is much, for ranks of one machine and of two are among them.
  std::vector<double> links;
  for (const RankHealth& rank : ranks)
    if (rank.slowest_peer.rank >= 0) links.push_back(rank.slowest_peer.bytes_per_second);
  const double middle = median(links);
  for (std::size_t r = 0; r < ranks.size(); ++r)
    if (const SlowestPeer& peer = ranks[r].slowest_peer; peer.rank >= 0 && peer.bytes_per_second < 0.5 * middle)
      findings.push_back({true, fmt::format("{}: messages to rank {} on {} run at {:.2f} GB/s, the median of all "
                                            "ranks' slowest is {:.2f}; look at that link",
                                            at(ranks, r), peer.rank, ranks[static_cast<std::size_t>(peer.rank)].host,
                                            peer.bytes_per_second * 1e-9, middle * 1e-9)});
  return findings;
}

}  // namespace athanor
