// Token sequences of any length as micro-batches of rows.
// Laws
//  * A row of a fixed length holds several sequences, the longest first into the first row with room (first fit
//    decreasing). A sequence attends to itself only and its positions begin at 0.
//  * Sequences of one group lie in one micro-batch.
//  * Ranks of cp pack the same sequences; each holds the part of every row that ContextCut keeps. Places and numbers of
//    tokens are those of whole rows.
//  * Which sequence lies where is a function of their lengths and groups alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/backend/communicator.hpp"
#include "src/nn/context_cut.hpp"

namespace athanor {

/// A sequence in two parts, which the packer only reads: a prompt and a completion, or one part and nothing.
struct TokenSequence {
  std::span<const std::int32_t> head, tail = {};

  std::size_t size() const { return head.size() + tail.size(); }
  std::int32_t operator[](std::size_t i) const { return i < head.size() ? head[i] : tail[i - head.size()]; }
};

/// Rows of row_tokens places that sequences of these lengths (in places) fill, laid out as the packer does.
std::int64_t rows_needed(std::vector<std::int64_t> lengths, std::int64_t row_tokens);

/// `values` in the accumulation type.
Tensor upload_numbers(Backend& ops, std::span<const double> values, DType acc, Stream& stream);

/// Numbers of this rank's tokens as those of whole rows [K, 1]; numbers_T itself where cp is one rank. Collective over
/// cp.
Tensor of_whole_rows(Backend& ops, Communicator& cp, const MicroBatch& micro_batch, const Tensor& numbers_T,
                     Stream& stream);

class SequencePacker {
 public:
  struct Options {
    std::int64_t row_tokens = 256;     ///< length of a row
    std::int64_t rows_per_batch = 16;  ///< rows of a micro-batch
    DType acc = DType::f32;            ///< of per-token numbers
    int tp_size = 1;                   ///< a rank's tokens of a micro-batch divide by it
    int cp_rank = 0, cp_size = 1;
  };
  /// @throws ConfigError when rows cannot be cut over tp and cp.
  SequencePacker(Backend& ops, const Options& options);

  /// Finds every sequence its place. The last token is a target only, so n tokens take n - 1 places.
  /// @param groups  of every sequence; empty: each for itself. @throws ConfigError for one longer than a row, or a
  /// group that no micro-batch holds.
  void pack(std::span<const TokenSequence> sequences, std::span<const std::int64_t> groups = {});
  std::int64_t num_micro_batches() const { return std::ssize(micro_batches_); }

  /// Where the first token of sequence i lies: micro-batch, and which of its tokens.
  struct Place {
    std::size_t micro_batch = 0, first = 0;
  };
  Place place_of(std::size_t sequence) const { return places_[sequence]; }

  /// Tokens, targets, positions and reach of micro-batch m of what was packed; an empty one for m past the last. What
  /// targets weigh is the caller's: loss_weights_T is undefined, balance_weight 0.
  /// @param sequences  as packed.
  MicroBatch build(std::size_t m, std::span<const TokenSequence> sequences, Stream& stream) const;

  /// One number a token of a micro-batch, in the accumulation type; and an integer. Of K tokens those kept here.
  Tensor upload(std::vector<double> values_K, Stream& stream) const;
  Tensor upload_ids(std::vector<std::int32_t> ids_K, Stream& stream) const;
  std::int64_t tokens_per_batch() const { return options_.rows_per_batch * options_.row_tokens; }
  const Options& options() const { return options_; }

 private:
  /// What a micro-batch holds: tokens used of each row, and its sequences.
  struct Content {
    std::vector<std::int64_t> used_of_row;
    std::vector<std::size_t> sequences;
  };
  /// Puts all members into the micro-batch, or none. @param lengths  of all sequences, in places.
  bool place(std::size_t m, std::span<const std::size_t> members, std::span<const std::int64_t> lengths);

  Backend& ops_;
  Options options_;
  ContextCut cut_;
  std::vector<Content> micro_batches_;
  std::vector<Place> places_;
};

}  // namespace athanor
