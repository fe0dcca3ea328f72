#include "src/nn/context_cut.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"

namespace athanor {

void ContextCut::require(std::int64_t length, const char* what) const {
  if (!is_whole() && length % (2 * ranks_) != 0)
    throw ConfigError(
        fmt::format("{} = {} cannot be cut over parallel.cp = {}: every rank takes two equal runs of a sequence, so "
                    "choose a multiple of {}",
                    what, length, ranks_, 2 * ranks_));
}

void ContextCut::set(std::int64_t sequences, std::int64_t length) {
  if (is_whole() || (sequences == sequences_ && length == length_)) return;
  sequences_ = sequences;
  length_ = length;
  const std::int64_t run = length / (2 * ranks_), tokens_of_rank = sequences * 2 * run;
  kept_T_.clear();
  for (std::int64_t row = 0; row < sequences; ++row)
    for (const std::int64_t r : {std::int64_t{rank_}, std::int64_t{2 * ranks_ - 1 - rank_}})
      for (std::int64_t i = 0; i < run; ++i) kept_T_.push_back(row * length + r * run + i);
  key_end_T_.clear();
  for (const std::int64_t k : kept_T_) key_end_T_.push_back(static_cast<std::int32_t>(k + 1));
  // Token k of the sequences lies, gathered rank by rank, where its run's rank has it.
  sequence_order_K_.resize(static_cast<std::size_t>(sequences * length));
  gathered_order_K_.resize(sequence_order_K_.size());
  for (std::int64_t row = 0; row < sequences; ++row)
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t r = i / run, rank = std::min(r, 2 * ranks_ - 1 - r), half = r < ranks_ ? 0 : 1;
      const std::int64_t k = row * length + i;
      const std::int64_t gathered = rank * tokens_of_rank + (row * 2 + half) * run + i % run;
      sequence_order_K_[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(gathered);
      gathered_order_K_[static_cast<std::size_t>(gathered)] = static_cast<std::int32_t>(k);
    }
}

MicroBatch::ContextOrder ContextCut::order(Backend& ops, Stream& stream) const {
  if (is_whole()) return {};
  const auto put = [&](const std::vector<std::int32_t>& ids) {
    return upload_vector<std::int32_t>(ops, ids, Shape{std::ssize(ids)}, stream);
  };
  return {put(key_end_T_), put(sequence_order_K_), put(gathered_order_K_)};
}

}  // namespace athanor
