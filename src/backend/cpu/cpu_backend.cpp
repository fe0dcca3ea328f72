#include "src/backend/cpu/cpu_backend.hpp"

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

}  // namespace athanor
