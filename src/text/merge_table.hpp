// Which pairs of tokens merge, and in what order: rank r is the (r+1)-th merge that training found.
// Law of byte-pair encoding: as long as a pair of neighbours is in the table, the pair of lowest rank (the leftmost of
// equals) becomes one token. Source: Sennrich et al. 2016, arXiv 1508.07909.
#pragma once

#include <cstdint>
#include <vector>

namespace athanor {

struct Merge {
  std::int32_t left, right;  ///< neighbours
  std::int32_t result;       ///< the token they become
  friend bool operator==(const Merge&, const Merge&) = default;
};

class MergeTable {
 public:
  MergeTable() : MergeTable(std::vector<Merge>{}) {}
  /// @param merges  in order of rank. @throws DataError when a pair is listed twice.
  explicit MergeTable(const std::vector<Merge>& merges);

  /// Merges the tokens of one pre-token in place. Linear-time steps for short ones, a heap for long ones.
  void apply(std::vector<std::int32_t>& ids) const;

  static constexpr std::int32_t kNoRank = INT32_MAX;

 private:
  struct Entry {
    std::uint64_t pair = kEmpty;
    std::int32_t rank = kNoRank, result = -1;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static constexpr std::size_t kLongest = 48;  ///< tokens; longer pre-tokens go through the heap

  const Entry& find(std::int32_t left, std::int32_t right) const;
  void apply_scanning(std::vector<std::int32_t>& ids) const;
  void apply_heap(std::vector<std::int32_t>& ids) const;

  std::vector<Entry> entries_;  ///< open addressing, a power of two of them, at most half full
  int shift_ = 0;
};

}  // namespace athanor
