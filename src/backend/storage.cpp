#include "src/backend/storage.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "src/base/error.hpp"

namespace athanor {
void StorageRef::release() noexcept {
  if (block_ && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) block_->arena->give_back(block_);
  block_ = nullptr;
}

/// Rounds up to 64 B below 512 B, then to an eighth of the power of two below the request.
std::size_t Arena::block_bytes(std::size_t bytes) {
  const std::size_t step = bytes <= 512 ? 64 : std::max<std::size_t>(64, std::bit_floor(bytes - 1) / 8);
  return std::max<std::size_t>(64, (bytes + step - 1) / step * step);
}

StorageRef Arena::allocate(std::size_t bytes) {
  const std::size_t capacity = block_bytes(bytes);
  auto& waiting = (*home_)[capacity];
  StorageBlock* block = nullptr;
  if (!waiting.empty()) {
    block = waiting.back();
    waiting.pop_back();
  } else {
    if (!may_grow_)
      throw ArenaReserve::UsedUp("a recording wanted a block of " + std::to_string(capacity) +
                                 " bytes that its reserve does not have");
    std::byte* data = system_allocate(capacity);
    if (!data) {
      // Blocks cached in other classes may be what is missing.
      release_cached();
      data = system_allocate(capacity);
    }
    if (!data)
      throw Error("out of device memory: asked for " + std::to_string(bytes) + " bytes with " +
                  std::to_string(statistics_.in_use_bytes) + " in use; use a smaller batch, more ranks or recompute");
    blocks_.push_back(std::make_unique<StorageBlock>());
    block = blocks_.back().get();
    block->data = data;
    block->capacity_bytes = capacity;
    block->arena = this;
    block->home = home_;
    make_room(*home_, capacity);
    statistics_.reserved_bytes += capacity;
    ++statistics_.system_allocations;
  }
  statistics_.in_use_bytes += capacity;
  statistics_.peak_in_use_bytes = std::max(statistics_.peak_in_use_bytes, statistics_.in_use_bytes);
  return StorageRef(block);
}

void Arena::give_back(StorageBlock* block) noexcept {
  statistics_.in_use_bytes -= block->capacity_bytes;
  block->home->find(block->capacity_bytes)->second.push_back(block);
}

void Arena::make_room(WaitingBlocks& home, std::size_t capacity) {
  const auto in_class = static_cast<std::size_t>(std::count_if(blocks_.begin(), blocks_.end(), [&](const auto& b) {
    return b->capacity_bytes == capacity && b->home == &home;
  }));
  auto& waiting = home[capacity];
  if (waiting.capacity() < in_class) waiting.reserve(std::bit_ceil(in_class));
}

void Arena::release_cached() noexcept {
  for (auto& [capacity, waiting] : free_blocks_) {
    for (StorageBlock* block : waiting) {
      system_free(block->data, capacity);
      statistics_.reserved_bytes -= capacity;
      std::erase_if(blocks_, [block](const auto& owned) { return owned.get() == block; });
    }
    waiting.clear();
  }
}

ArenaReserve::~ArenaReserve() {
  for (const auto& block : arena_.blocks_)
    if (block->home == &blocks_) block->home = &arena_.free_blocks_;
  for (auto& [capacity, waiting] : blocks_) {
    arena_.make_room(arena_.free_blocks_, capacity);
    auto& kept = arena_.free_blocks_[capacity];
    kept.insert(kept.end(), waiting.begin(), waiting.end());
  }
}

ArenaReserve::Use::Use(ArenaReserve& reserve, bool may_grow)
    : arena_(reserve.arena_),
      before_(std::exchange(arena_.home_, &reserve.blocks_)),
      could_grow_(std::exchange(arena_.may_grow_, may_grow)) {}

ArenaReserve::Use::~Use() {
  arena_.home_ = before_;
  arena_.may_grow_ = could_grow_;
}

}  // namespace athanor
