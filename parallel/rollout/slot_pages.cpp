#include "parallel/rollout/slot_pages.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

SlotPages::Size checked(const SlotPages::Size& size) {
  if (size.slots < 1 || size.sequence_tokens < 1 || !whole_page(size.page_tokens))
    throw ConfigError(
        fmt::format("rollout: wanted at least one slot for sequences of at least one token in pages of 16, 32, 64, ... "
                    "(rl.page_tokens), found {} slots for {} tokens in pages of {}",
                    size.slots, size.sequence_tokens, size.page_tokens));
  if (size.cache_tokens != 0 && size.cache_tokens < size.sequence_tokens)
    throw ConfigError(fmt::format("rollout: a cache of {} tokens (rl.cache_tokens) has no room for a sequence of {}",
                                  size.cache_tokens, size.sequence_tokens));
  return size;
}

}  // namespace

SlotPages::SlotPages(Backend& ops, const Size& size)
    : ops_(ops),
      size_(checked(size)),
      pages_per_slot_(pages_of(size.sequence_tokens)),
      allocator_(size.cache_tokens == 0 ? size.slots * pages_per_slot_ : pages_of(size.cache_tokens)),
      pages_of_slot_(static_cast<std::size_t>(size.slots)),
      host_table_(pages_of_slot_.size() * static_cast<std::size_t>(pages_per_slot_)),
      table_SP_(ops.empty({size.slots, pages_per_slot_}, DType::i32)) {}

void SlotPages::reset() {
  allocator_.reset();
  for (auto& pages : pages_of_slot_) pages.clear();
}

void SlotPages::append(std::int64_t slot, std::int32_t page) {
  auto& pages = pages_of_slot_[static_cast<std::size_t>(slot)];
  host_table_[static_cast<std::size_t>(slot * pages_per_slot_) + pages.size()] = page;
  pages.push_back(page);
  changed_ = true;
}

bool SlotPages::reserve(std::int64_t slot, std::int64_t tokens) {
  const auto& pages = pages_of_slot_[static_cast<std::size_t>(slot)];
  if (pages_of(tokens) > pages_per_slot_)
    throw Error(fmt::format("rollout: {} tokens were asked for in a slot of {}", tokens, size_.sequence_tokens));
  if (pages_of(tokens) - std::ssize(pages) > num_free()) return false;
  while (std::ssize(pages) < pages_of(tokens)) append(slot, allocator_.take());
  return true;
}

void SlotPages::share(std::int64_t from, std::int64_t to, std::int64_t tokens, std::vector<std::int32_t>& copy_from,
                      std::vector<std::int32_t>& copy_to) {
  const auto& pages = pages_of_slot_[static_cast<std::size_t>(from)];
  const std::int64_t whole = tokens / size_.page_tokens, rest = tokens % size_.page_tokens;
  for (std::int64_t i = 0; i < whole; ++i) {
    allocator_.share(pages[static_cast<std::size_t>(i)]);
    append(to, pages[static_cast<std::size_t>(i)]);
  }
  if (rest == 0) return;
  const std::int64_t old_page = pages[static_cast<std::size_t>(whole)], new_page = allocator_.take();
  append(to, static_cast<std::int32_t>(new_page));
  for (std::int64_t i = 0; i < rest; ++i) {
    copy_from.push_back(static_cast<std::int32_t>(old_page * size_.page_tokens + i));
    copy_to.push_back(static_cast<std::int32_t>(new_page * size_.page_tokens + i));
  }
}

void SlotPages::release(std::int64_t slot) {
  auto& pages = pages_of_slot_[static_cast<std::size_t>(slot)];
  for (const std::int32_t page : pages) allocator_.give_back(page);
  pages.clear();
}

const Tensor& SlotPages::table(Stream& stream) {
  if (changed_) ops_.upload(table_SP_, std::as_bytes(std::span(host_table_)), stream);
  changed_ = false;
  return table_SP_;
}

}  // namespace athanor
