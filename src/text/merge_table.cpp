#include "src/text/merge_table.hpp"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <queue>

#include "src/base/error.hpp"

namespace athanor {
namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges) {
  const std::size_t capacity = std::bit_ceil(2 * merges.size() + 2);
  entries_.resize(capacity);
  shift_ = 64 - std::countr_zero(capacity);
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& merge = merges[rank];
    // find() returns the free entry where the pair belongs when the table does not hold it.
    Entry& entry = const_cast<Entry&>(find(merge.left, merge.right));
    if (entry.pair != kEmpty)
      throw DataError(fmt::format("merge {}: tokens {} and {} were merged before, by merge {}", rank, merge.left,
                                  merge.right, entry.rank));
    entry = {pair_key(merge.left, merge.right), static_cast<std::int32_t>(rank), merge.result};
  }
}

const MergeTable::Entry& MergeTable::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t key = pair_key(left, right);
  std::size_t slot = (key * 0x9E3779B97F4A7C15U) >> shift_;
  while (entries_[slot].pair != key && entries_[slot].pair != kEmpty) slot = (slot + 1) & (entries_.size() - 1);
  return entries_[slot];
}

void MergeTable::apply(std::vector<std::int32_t>& ids) const {
  if (ids.size() <= kLongest)
    apply_scanning(ids);
  else
    apply_heap(ids);
}

void MergeTable::apply_scanning(std::vector<std::int32_t>& ids) const {
  std::size_t count = ids.size();
  std::array<const Entry*, kLongest> pairs{};  // of (i, i+1)
  for (std::size_t i = 0; i + 1 < count; ++i) pairs[i] = &find(ids[i], ids[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (pairs[i]->rank < pairs[best]->rank) best = i;
    if (pairs[best]->rank == kNoRank) break;
    ids[best] = pairs[best]->result;
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      ids[i] = ids[i + 1];
      pairs[i] = pairs[i + 1];
    }
    if (best > 0) pairs[best - 1] = &find(ids[best - 1], ids[best]);
    if (best + 1 < count) pairs[best] = &find(ids[best], ids[best + 1]);
  }
  ids.resize(count);
}

void MergeTable::apply_heap(std::vector<std::int32_t>& ids) const {
  constexpr std::size_t kEnd = SIZE_MAX;
  struct Node {
    std::size_t previous, next;
    const Entry* pair = nullptr;  ///< of this token and the next; null when this token is gone or the last
  };
  struct Candidate {
    std::int32_t rank;
    std::size_t position;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  std::vector<Node> nodes(ids.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto look_at = [&](std::size_t i) {
    nodes[i].pair = nodes[i].next == kEnd ? nullptr : &find(ids[i], ids[nodes[i].next]);
    if (nodes[i].pair != nullptr && nodes[i].pair->rank != kNoRank) candidates.push({nodes[i].pair->rank, i});
  };
  for (std::size_t i = 0; i < ids.size(); ++i) nodes[i] = {i == 0 ? kEnd : i - 1, i + 1 == ids.size() ? kEnd : i + 1};
  for (std::size_t i = 0; i < ids.size(); ++i) look_at(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Node& node = nodes[best.position];
    if (node.pair == nullptr || node.pair->rank != best.rank) continue;  // merged away or changed since
    ids[best.position] = node.pair->result;
    nodes[node.next].pair = nullptr;
    node.next = nodes[node.next].next;
    if (node.next != kEnd) nodes[node.next].previous = best.position;
    look_at(best.position);
    if (node.previous != kEnd) look_at(node.previous);
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i != kEnd; i = nodes[i].next) ids[count++] = ids[i];
  ids.resize(count);
}

}  // namespace athanor
