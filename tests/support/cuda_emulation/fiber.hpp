// Fibers: stacks between which one thread of the system switches. x86-64 with the System V calling convention only.
// Law: a fiber's function never throws and never returns; its stack ends at a page that cannot be touched. Code that
// runs on fibers is compiled without AddressSanitizer, which keeps a stack of its own for every thread.
#pragma once

#include <cstddef>

namespace emulation {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The next resume() starts `entry` from the top of the stack; whatever ran here is forgotten.
  void restart(void (*entry)());
  /// Runs the fiber until it calls suspend().
  void resume();
  /// Called on the fiber: goes back to where resume() was called.
  void suspend();

 private:
  std::byte* memory_;
  void* own_ = nullptr;
  void* other_ = nullptr;
};

}  // namespace emulation
