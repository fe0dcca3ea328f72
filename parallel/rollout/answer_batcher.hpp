// Prompts with their answers as micro-batches of a model with a scalar head: to be scored, or to be learned from.
// Laws
//  * A sequence is a prompt with an answer, its last token included (parallel/packing lays them into rows). The answers
//    of a group lie in one micro-batch, so that all pairs of them can be compared there; that is how InstructGPT (arXiv
//    2203.02155, section 3.5) keeps a prompt's comparisons from being over-fitted.
//  * An answer's score is the value at its last token.
//  * Weights add up to 1 over ranks and micro-batches, so they need the totals of the whole global batch.
//  * Ranks that share a pipeline or experts need as many micro-batches: those with fewer get empty ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/packing/sequence_packer.hpp"

namespace athanor {

/// The answers to one prompt. Only what is learned from has scores or labels.
struct AnswerGroup {
  std::vector<std::vector<std::int32_t>> sequences;  ///< prompt and answer, whole
  std::vector<double> scores;                        ///< pairwise: higher is better, equal is a tie
  std::vector<double> labels;                        ///< pointwise: 1 good, 0 bad
};

/// What the weights of a global batch are divided by.
struct PreferenceTotals {
  std::int64_t prompts = 0;  ///< groups with a pair that is no tie
  std::int64_t answers = 0;  ///< with a label
};
/// Of these groups; add up over ranks.
PreferenceTotals count(std::span<const AnswerGroup> groups);

class AnswerBatcher {
 public:
  struct Options {
    SequencePacker::Options rows = {};
    double centering = 0.0;  ///< weight of (sum of a pair's scores)^2
    double margin = 0.0;     ///< a pair is to differ by so much for each unit between its scores
  };
  /// @throws ConfigError when tp does not divide a micro-batch.
  AnswerBatcher(Backend& ops, const Options& options);

  /// How many micro-batches these make. @throws ConfigError when the answers of a prompt do not fit into one.
  std::int64_t micro_batches(std::span<const AnswerGroup> groups);
  /// Rows alone, for scores and values. @param num_micro_batches  at least micro_batches(groups).
  std::vector<MicroBatch> build_scoring(std::span<const AnswerGroup> groups, std::int64_t num_micro_batches,
                                        Stream& stream);
  /// The same with preference rows: pairs where there are no labels. @param totals  over all ranks.
  std::vector<MicroBatch> build(std::span<const AnswerGroup> groups, const PreferenceTotals& totals,
                                std::int64_t num_micro_batches, Stream& stream);
  /// Where a sequence lies: micro-batch and its first token in it.
  SequencePacker::Place place_of(std::size_t group, std::size_t answer) const {
    return packer_.place_of(first_of_group_[group] + answer);
  }

 private:
  void pack(std::span<const AnswerGroup> groups);
  MicroBatch::PreferenceRows preferences_of(std::span<const AnswerGroup> groups, const PreferenceTotals& totals,
                                            std::size_t micro_batch, Stream& stream) const;

  Backend& ops_;
  Options options_;
  SequencePacker packer_;
  std::vector<TokenSequence> sequences_;  ///< of all groups, one after the other
  std::vector<std::size_t> first_of_group_;
};

}  // namespace athanor
