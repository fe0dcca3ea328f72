#include "tests/support/cuda_emulation/fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>

#ifndef __x86_64__
#error "the emulated GPU switches stacks with x86-64 instructions"
#endif

// Saves the registers a function must keep and the stack in *save, and goes on with the stack at `to`.
extern "C" void athanor_emulation_switch(void** save, void* to);
asm(R"(
.text
.type athanor_emulation_switch,@function
athanor_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size athanor_emulation_switch,.-athanor_emulation_switch
)");

namespace emulation {
namespace {
constexpr std::size_t kStackBytes = 256 * 1024, kPage = 4096;
constexpr int kKeptRegisters = 6;
}  // namespace

Fiber::Fiber() {
  void* memory =
      ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for the stack of an emulated GPU thread");
  ::mprotect(memory, kPage, PROT_NONE);
  memory_ = static_cast<std::byte*>(memory);
}

Fiber::~Fiber() { ::munmap(memory_, kStackBytes); }

void Fiber::restart(void (*entry)()) {
  // As if `entry` had been called: its return address (none) lies at 8 below a multiple of 16.
  auto* top = reinterpret_cast<std::uint64_t*>(memory_ + kStackBytes);
  *--top = 0;
  *--top = reinterpret_cast<std::uint64_t>(entry);
  for (int i = 0; i < kKeptRegisters; ++i) *--top = 0;
  own_ = top;
}

void Fiber::resume() { athanor_emulation_switch(&other_, own_); }

void Fiber::suspend() { athanor_emulation_switch(&own_, other_); }

}  // namespace emulation
