#include "src/model/page_allocator.hpp"

#include <algorithm>
#include <string>

#include "src/base/error.hpp"

namespace athanor {

PageAllocator::PageAllocator(std::int64_t num_pages) : holders_(static_cast<std::size_t>(num_pages)) { reset(); }

void PageAllocator::reset() {
  std::fill(holders_.begin(), holders_.end(), 0);
  free_.clear();
  for (std::int64_t page = num_pages() - 1; page >= 0; --page) free_.push_back(static_cast<std::int32_t>(page));
  peak_held_ = 0;
}

std::int32_t PageAllocator::take() {
  if (free_.empty())
    throw Error("PageAllocator: wanted a free page, found none of " + std::to_string(num_pages()) +
                "; ask num_free() first");
  const std::int32_t page = free_.back();
  free_.pop_back();
  holders_[static_cast<std::size_t>(page)] = 1;
  peak_held_ = std::max(peak_held_, num_pages() - num_free());
  return page;
}

void PageAllocator::share(std::int32_t page) {
  require_held(page, "share");
  ++holders_[static_cast<std::size_t>(page)];
}

void PageAllocator::give_back(std::int32_t page) {
  require_held(page, "give_back");
  if (--holders_[static_cast<std::size_t>(page)] == 0) free_.push_back(page);
}

void PageAllocator::require_held(std::int32_t page, const char* call) const {
  if (page >= 0 && page < num_pages() && holders_[static_cast<std::size_t>(page)] > 0) return;
  throw Error(std::string("PageAllocator::") + call + ": wanted a page that is held, found page " +
              std::to_string(page) + " of " + std::to_string(num_pages()));
}

}  // namespace athanor
