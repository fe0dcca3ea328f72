// Which pages of the cache the sequences at work have. Laws: a slot holds one sequence and pages for as many of its
// tokens as were asked for, in their order; siblings share the whole pages of their prompt and have the rest each for
// itself.
#pragma once

#include <cstdint>
#include <vector>

#include "src/backend/backend.hpp"
#include "src/model/page_allocator.hpp"

namespace athanor {

class SlotPages {
 public:
  struct Size {
    std::int64_t slots = 1;            ///< sequences at once
    std::int64_t sequence_tokens = 1;  ///< of a sequence at most
    std::int64_t page_tokens = 16;     ///< 16, 32, 64, ...
    std::int64_t cache_tokens = 0;     ///< of all together; 0: as many as all slots can take
  };
  /// @throws ConfigError for sizes that are none, or where the cache has no room for one sequence.
  SlotPages(Backend& ops, const Size& size);

  const Size& size() const { return size_; }
  /// Of the cache.
  std::int64_t num_pages() const { return allocator_.num_pages(); }
  std::int64_t num_free() const { return allocator_.num_free(); }
  std::int64_t peak_held() const { return allocator_.peak_held(); }
  /// Whether all slots at once can be as long as a sequence may be.
  bool never_short() const { return size_.cache_tokens == 0; }
  std::int64_t pages_of(std::int64_t tokens) const { return (tokens + size_.page_tokens - 1) / size_.page_tokens; }
  /// Free pages that a sequence of `tokens` takes for itself where it shares a prompt of `shared` tokens.
  std::int64_t own_pages_of(std::int64_t tokens, std::int64_t shared) const {
    return pages_of(tokens) - shared / size_.page_tokens;
  }

  /// Every slot empty.
  void reset();
  /// Sees that the slot has pages for `tokens` tokens. @returns false, with nothing taken, where too few are free.
  bool reserve(std::int64_t slot, std::int64_t tokens);
  /// Gives an empty slot the first `tokens` tokens of another: whole pages are shared, of a part of a page the rows to
  /// copy are appended to both lists. @throws Error where no page is free for it.
  void share(std::int64_t from, std::int64_t to, std::int64_t tokens, std::vector<std::int32_t>& copy_from,
             std::vector<std::int32_t>& copy_to);
  /// The slot is empty.
  void release(std::int64_t slot);

  /// pages_SP on the device, the same tensor every time, with what changed since the last call uploaded.
  const Tensor& table(Stream& stream);

 private:
  void append(std::int64_t slot, std::int32_t page);

  Backend& ops_;
  Size size_;
  std::int64_t pages_per_slot_;
  PageAllocator allocator_;
  std::vector<std::vector<std::int32_t>> pages_of_slot_;
  std::vector<std::int32_t> host_table_;
  Tensor table_SP_;
  bool changed_ = true;
};

}  // namespace athanor
