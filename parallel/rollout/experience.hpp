// Scored completions as micro-batches of a policy update.
// Laws
//  * Rows of a fixed length hold several sequences (prompt and completion), longest first into the first row with room;
//    sequences see themselves only. Only completion tokens weigh anything.
//  * What a token weighs adds up over ranks and micro-batches to the normaliser of the objective (PolicyWeights), so it
//    needs the sums over the whole global batch.
//  * Ranks that share a pipeline or experts need as many micro-batches: those with fewer get empty ones.
#pragma once

#include <cstdint>
#include <vector>

#include "src/nn/exec_context.hpp"

namespace athanor {

struct Experience {
  std::vector<std::int32_t> prompt, completion;
  std::vector<double> logprobs;      ///< of the completion's tokens, by the policy that sampled them
  std::vector<double> ref_logprobs;  ///< by the reference; empty: none
  double advantage = 0.0;
  bool masked = false;  ///< counts for nothing (cut short, not scored)
};

/// How tokens share the weight of a batch. Source: FACTS 4.3 (names of TRL).
enum class PolicyWeights : std::uint8_t {
  by_sample,  ///< 1 / (samples * tokens of the sample): grpo, gspo
  by_length,  ///< 1 / (samples * longest completion allowed): dr_grpo
  by_token,   ///< 1 / tokens of the batch: dapo, cispo
};

/// Of the whole global batch.
struct BatchTotals {
  std::int64_t samples = 0;  ///< not masked
  std::int64_t tokens = 0;   ///< of their completions
};
BatchTotals count(const std::vector<const Experience*>& batch);

class ExperienceBatcher {
 public:
  struct Options {
    std::int64_t row_tokens = 256;      ///< length of a row
    std::int64_t rows_per_batch = 16;   ///< rows of a micro-batch
    std::int64_t max_new_tokens = 128;  ///< for by_length
    double temperature = 1.0;
    PolicyWeights weights = PolicyWeights::by_token;
    PolicyGradientArgs objective = {};
    DType acc = DType::f32;
    int tp_size = 1;  ///< rows of a micro-batch times row_tokens divide by it
  };
  ExperienceBatcher(Backend& ops, const Options& options);

  /// How many micro-batches these make.
  std::int64_t micro_batches(const std::vector<const Experience*>& batch);
  /// @param totals  over all ranks.   @param num_micro_batches  at least micro_batches(batch).
  std::vector<MicroBatch> build(const std::vector<const Experience*>& batch, const BatchTotals& totals,
                                std::int64_t num_micro_batches, Stream& stream);
  /// The same rows without a policy, every completion token of weight 1: for log-probabilities of another model. Fills
  /// places of losses_T with place_of().
  std::vector<MicroBatch> build_scoring(const std::vector<const Experience*>& batch, std::int64_t num_micro_batches,
                                        Stream& stream);
  /// Where the completion of batch[i] lies: micro-batch and the first of its losses.
  struct Place {
    std::size_t micro_batch, first;
  };
  Place place_of(std::size_t index) const { return places_[index]; }

 private:
  void pack(const std::vector<const Experience*>& batch);

  Backend& ops_;
  Options options_;
  std::vector<Place> places_;                   ///< of each experience's first completion token
  std::vector<std::vector<std::size_t>> rows_;  ///< experiences of every row
};

}  // namespace athanor
