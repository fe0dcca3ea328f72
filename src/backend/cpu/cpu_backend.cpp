#include "src/backend/cpu/cpu_backend.hpp"

#include <omp.h>

#include <fstream>
#include <string>

#include "src/backend/cpu/cpu_arena.hpp"
#include "src/backend/cpu/cpu_stream.hpp"

namespace athanor {

struct CpuBackend::State {
  bool guarded;
  cpu::CpuArena arena;
  std::unique_ptr<cpu::GuardedArena> guarded_arena;
};

CpuBackend::CpuBackend(bool guarded) : state_(std::make_unique<State>()) {
  state_->guarded = guarded;
  if (guarded) state_->guarded_arena = std::make_unique<cpu::GuardedArena>();
}

CpuBackend::~CpuBackend() = default;

Device CpuBackend::device() const { return {state_->guarded ? Device::Kind::cpu_guarded : Device::Kind::cpu, 0}; }

std::string CpuBackend::description() const {
  std::ifstream file("/proc/cpuinfo");
  std::string name = "CPU", line;
  while (std::getline(file, line))
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) {
      name = line.substr(line.find(": ") + 2);
      break;
    }
  return name + ", " + std::to_string(omp_get_max_threads()) + " threads";
}

Arena& CpuBackend::arena() {
  if (state_->guarded) return *state_->guarded_arena;
  return state_->arena;
}

std::unique_ptr<Stream> CpuBackend::make_stream() {
  if (state_->guarded) return std::make_unique<cpu::GuardedStream>(*state_->guarded_arena);
  return std::make_unique<cpu::ImmediateStream>();
}

std::unique_ptr<Event> CpuBackend::make_event() {
  if (state_->guarded) return std::make_unique<cpu::GuardedEvent>();
  return std::make_unique<cpu::ImmediateEvent>();
}

std::unique_ptr<Graphs> CpuBackend::make_graphs(Stream&) { return std::make_unique<cpu::PlainGraphs>(); }

}  // namespace athanor
