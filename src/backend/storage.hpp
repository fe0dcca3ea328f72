// Device memory in blocks that are counted and cached. Law: a block goes back to its arena when the last Tensor on it
// dies and is handed out again, so a steady-state training step allocates nothing. Blocks never move. An arena belongs
// to one Backend and must outlive every tensor made from it. One host thread allocates.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "src/backend/device.hpp"
#include "src/base/error.hpp"

namespace athanor {

class Arena;
struct StorageBlock;
/// Blocks that wait to be handed out, by capacity.
using WaitingBlocks = std::map<std::size_t, std::vector<StorageBlock*>>;

/// A block of device memory. Made by an Arena only.
struct StorageBlock {
  std::byte* data = nullptr;
  std::size_t capacity_bytes = 0;
  Arena* arena = nullptr;
  WaitingBlocks* home = nullptr;  ///< where it waits when nothing uses it
  std::atomic<std::int64_t> references{0};
};

/// Shared ownership of a StorageBlock (an intrusive counter: copying costs no heap allocation).
class StorageRef {
 public:
  StorageRef() = default;
  explicit StorageRef(StorageBlock* block) noexcept : block_(block) { acquire(); }
  StorageRef(const StorageRef& other) noexcept : block_(other.block_) { acquire(); }
  StorageRef(StorageRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  StorageRef& operator=(StorageRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~StorageRef() { release(); }

  explicit operator bool() const { return block_ != nullptr; }
  std::byte* data() const { return block_ ? block_->data : nullptr; }
  const StorageBlock* block() const { return block_; }

 private:
  void acquire() noexcept {
    if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  void release() noexcept;

  StorageBlock* block_ = nullptr;
};

/// What an arena holds, in bytes.
struct MemoryStatistics {
  std::size_t in_use_bytes = 0;         ///< handed out now
  std::size_t peak_in_use_bytes = 0;    ///< most handed out at once since the last reset_peak
  std::size_t reserved_bytes = 0;       ///< taken from the system
  std::int64_t system_allocations = 0;  ///< times the system was asked for memory: constant in a steady state
};

class ArenaReserve;

/// Caching allocator. Sizes are rounded up to a class (at most 1/8 above the request); a freed block waits in its
/// class.
class Arena {
 public:
  virtual ~Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// @throws Error when the system has no memory left, with the request and what is in use.
  StorageRef allocate(std::size_t bytes);
  /// What a request of so many bytes takes: its class.
  static std::size_t block_bytes(std::size_t bytes);
  const MemoryStatistics& statistics() const { return statistics_; }
  void reset_peak() { statistics_.peak_in_use_bytes = statistics_.in_use_bytes; }

 protected:
  Arena() = default;
  /// Returns every cached block to the system; call from the destructor of the most derived class.
  void release_cached() noexcept;
  virtual std::byte* system_allocate(std::size_t bytes) = 0;  ///< null when there is none; aligned to at least 64 bytes
  virtual void system_free(std::byte* data, std::size_t bytes) noexcept = 0;

 private:
  friend class StorageRef;
  friend class ArenaReserve;
  void give_back(StorageBlock* block) noexcept;
  /// Room in a home for every block of a capacity that has it, so that giving one back never allocates.
  void make_room(WaitingBlocks& home, std::size_t capacity);

  WaitingBlocks free_blocks_;
  WaitingBlocks* home_ = &free_blocks_;  ///< of what is handed out now
  bool may_grow_ = true;                 ///< whether the system may be asked
  std::vector<std::unique_ptr<StorageBlock>> blocks_;
  MemoryStatistics statistics_;
};

/// Memory set apart from an arena's, for work whose recording keeps its addresses: what is allocated while a Use exists
/// comes from the reserve, and goes back to it. At its end the arena has it all.
class ArenaReserve {
 public:
  explicit ArenaReserve(Arena& arena) : arena_(arena) {}
  ~ArenaReserve();
  ArenaReserve(const ArenaReserve&) = delete;
  ArenaReserve& operator=(const ArenaReserve&) = delete;

  /// Thrown where the reserve is used up and may not grow.
  class UsedUp : public Error {
   public:
    using Error::Error;
  };
  /// @param may_grow  whether the system may be asked for more.
  class Use {
   public:
    Use(ArenaReserve& reserve, bool may_grow);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Arena& arena_;
    WaitingBlocks* before_;
    bool could_grow_;
  };

 private:
  Arena& arena_;
  WaitingBlocks blocks_;
};

}  // namespace athanor
