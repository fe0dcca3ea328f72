// Memory of the CPU back ends. CpuArena: aligned memory from the system. GuardedArena: one reserved range of addresses
// that is readable only between open() and close(), which the guarded stream calls around stream work.
#pragma once

#include <cstddef>

#include "src/backend/storage.hpp"

namespace athanor::cpu {

class CpuArena final : public Arena {
 public:
  ~CpuArena() override { release_cached(); }

 private:
  std::byte* system_allocate(std::size_t bytes) override;
  void system_free(std::byte* data, std::size_t bytes) noexcept override;
};

class GuardedArena final : public Arena {
 public:
  GuardedArena();
  ~GuardedArena() override;
  /// Makes tensor memory readable and writable; nests.
  void open();
  void close();

 private:
  std::byte* system_allocate(std::size_t bytes) override;
  void system_free(std::byte* data, std::size_t bytes) noexcept override;

  std::byte* base_ = nullptr;
  std::size_t used_bytes_ = 0;  ///< handed out from base_; freed blocks are kept by the arena's cache
  int open_depth_ = 0;
};

}  // namespace athanor::cpu
