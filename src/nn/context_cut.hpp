// Which tokens of whole sequences a rank of cp (context parallelism) holds.
// Law: a sequence is cut into 2*cp equal runs, of which rank r keeps run r and run 2*cp-1-r: causal attention then
// costs all ranks the same. What is kept rises, row by row. Source: Llama 3 (arXiv 2407.21783), section 3.3.2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/nn/exec_context.hpp"

namespace athanor {

class ContextCut {
 public:
  /// One rank, which keeps everything.
  ContextCut() = default;
  ContextCut(int rank, int ranks) : rank_(rank), ranks_(ranks) {}

  bool is_whole() const { return ranks_ == 1; }
  int ranks() const { return ranks_; }
  /// @throws ConfigError when sequences of that many tokens have no 2*cp equal runs. @param what  names the length
  void require(std::int64_t length, const char* what) const;

  /// From here on the cut of `sequences` rows of `length` tokens, K in all. Cheap when they are as before.
  void set(std::int64_t sequences, std::int64_t length);
  /// Tokens of K that are kept here, T of them. Empty when whole.
  std::span<const std::int64_t> kept_T() const { return kept_T_; }
  /// Moves what is kept of values_K to its front. @returns how many that are
  template <class Value>
  std::size_t keep(std::span<Value> values_K) const {
    if (is_whole()) return values_K.size();
    std::size_t t = 0;
    for (const std::int64_t k : kept_T_) values_K[t++] = values_K[static_cast<std::size_t>(k)];
    return t;
  }
  /// Where keys end and how gathered rows are ordered; undefined tensors when whole.
  MicroBatch::ContextOrder order(Backend& ops, Stream& stream) const;

 private:
  int rank_ = 0, ranks_ = 1;
  std::int64_t sequences_ = 0, length_ = 0;
  std::vector<std::int64_t> kept_T_;
  std::vector<std::int32_t> key_end_T_, sequence_order_K_, gathered_order_K_;
};

}  // namespace athanor
