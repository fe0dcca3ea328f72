// Pages of a cache (KvCache) and who holds them. Law: a page has one holder or more, and is free again when the last
// lets go; a page with several holders is written by none of them. Pages are told apart by number; of the free ones the
// one given back last is taken first, so that few pages are touched.
#pragma once

#include <cstdint>
#include <vector>

namespace athanor {

class PageAllocator {
 public:
  explicit PageAllocator(std::int64_t num_pages);

  std::int64_t num_pages() const { return static_cast<std::int64_t>(holders_.size()); }
  std::int64_t num_free() const { return static_cast<std::int64_t>(free_.size()); }
  /// The most pages that were held at once since the last reset.
  std::int64_t peak_held() const { return peak_held_; }
  /// All pages free again, whoever held them.
  void reset();

  /// A free page, held once. @throws Error when there is none: ask num_free() first.
  std::int32_t take();
  /// One holder more. @throws Error for a page that nobody holds.
  void share(std::int32_t page);
  /// One holder less. @throws Error for a page that nobody holds.
  void give_back(std::int32_t page);

 private:
  void require_held(std::int32_t page, const char* call) const;

  std::vector<std::int32_t> holders_;  ///< of each page
  std::vector<std::int32_t> free_;     ///< the next to be taken last
  std::int64_t peak_held_ = 0;
};

}  // namespace athanor
