// The program. MPI lives exactly as long as main's try block; everything else is made and destroyed inside it.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

#include "io/metrics/metrics.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/stop_signal.hpp"
#include "parallel/build_identity.hpp"
#include "parallel/collective_log.hpp"
#include "parallel/mpi/mpi_session.hpp"
#include "parallel/watchdog.hpp"
#include "src/base/error.hpp"
#ifdef ATHANOR_WITH_CUDA
#include "src/backend/cuda/nvtx_spans.hpp"
#include "src/backend/cuda/offer_devices.hpp"
#endif

namespace athanor {
namespace {

std::string usage() {
  std::string text =
      "athanor COMMAND [words] [--config FILE]... [--section.key=value]...\n\n"
      "Trains language models, from text to a model, in one MPI job.\n\ncommands\n";
  for (const Command& command : commands()) text += fmt::format("  {:<10} {}\n", command.name, command.summary);
  return text +
         "\n`athanor COMMAND --help` lists the options of a command with units and defaults.\n"
         "`athanor --version` names the build.\n";
}

std::string version() {
  char library[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(library, &length);
  const std::string mpi(library, static_cast<std::size_t>(length));
#ifdef ATHANOR_WITH_CUDA
  constexpr const char* kCuda = "on";
#else
  constexpr const char* kCuda = "off";
#endif
  return fmt::format("athanor {} (build {}, CUDA back end {}, {})\n", ATHANOR_VERSION, build_identity(), kCuda,
                     mpi.substr(0, mpi.find_first_of(",\n")));
}

int dispatch(const std::vector<std::string>& words, HostGroup& world) {
  if (words.empty() || words.front() == "--help" || words.front() == "-h" || words.front() == "help") {
    if (world.rank() == 0) fmt::print("{}", usage());
    return words.empty() ? 2 : 0;
  }
  if (words.front() == "--version") {
    if (world.rank() == 0) fmt::print("{}", version());
    return 0;
  }
  const auto all = commands();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Command& command) { return words.front() == command.name; });
  if (found == all.end()) throw ConfigError("unknown command '" + words.front() + "'\n\n" + usage());
  return found->run({words.begin() + 1, words.end()}, world);
}

/// True when every rank of the job arrives here within two seconds: they all failed, and nobody stands in another
/// collective.
bool all_ranks_failed(HostGroup& errors) {
  MPI_Request arrived = MPI_REQUEST_NULL;
  MPI_Ibarrier(errors.comm(), &arrived);
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < std::chrono::seconds(2)) {
    int done = 0;
    MPI_Test(&arrived, &done, MPI_STATUS_IGNORE);
    if (done != 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;  // The request stays behind: the job is about to be aborted.
}

void tell(const HostGroup& world, const std::string& message) {
  std::fflush(stdout);
  fmt::print(stderr, "[rank {} {}] {}\n", world.rank(), world.host_name(), message);
  std::fflush(stderr);
}

/// Ends the ranks after an error. One that all of them met ends each with `status`, told once by each rank whose text
/// is its own; one that only some met ends the job with MPI_Abort, because the others may stand in a collective that
/// never comes.
int end_with(const std::string& message, int status, const HostGroup& world, HostGroup& errors) {
  if (!all_ranks_failed(errors)) {
    const CollectiveLog& log = *world.log();
    tell(world, fmt::format("{}\n  the last collective of rank {}: {}", message, world.rank(),
                            to_string(log.state(log.own()))));
    MpiSession::abort(status);
  }
  const bool new_text = errors.rank() == 0 || errors.broadcast("", 0) != message;
  if (errors.rank() == 0) errors.broadcast(message, 0);
  if (new_text) tell(world, message);
  return status;
}

int guarded(const std::vector<std::string>& words) {
  HostGroup world = HostGroup::world();
  HostGroup errors = world.duplicate();  // a plane of its own: what stands in `world` is not disturbed
  set_up_log(world.rank(), world.host_name());
  CollectiveLog log(world);
  if (!log.refusal().empty() && world.rank() == 0)
    spdlog::warn("ranks of a machine share no memory ({}): of a rank that is killed the last collective stays unknown",
                 log.refusal());
  world.set_log(&log);
  const Watchdog watchdog(log, world.host_name(), StopSignal::asked_to_end);
  try {
#ifdef ATHANOR_WITH_CUDA
    cuda::show_spans_to_profiler();
    cuda::offer_devices();
#endif
    return dispatch(words, world);
  } catch (const Error& error) {
    return end_with(error.what(), error.exit_status(), world, errors);
  } catch (const std::exception& error) {
    return end_with(std::string("unexpected error: ") + error.what(), 1, world, errors);
  }
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  try {
    athanor::MpiSession session(argc, argv);
    return athanor::guarded({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "athanor: {}\n", error.what());
    return 1;
  }
}
