// Scored completions as micro-batches of a policy update.
// Laws
//  * A sequence is a prompt with its completion (parallel/packing lays them into rows). Only completion tokens weigh
//    anything.
//  * What a token weighs adds up over ranks and micro-batches to the normaliser of the objective (PolicyWeights), so it
//    needs the sums over the whole global batch.
//  * Ranks that share a pipeline or experts need as many micro-batches: those with fewer get empty ones.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/packing/sequence_packer.hpp"

namespace athanor {

struct Experience {
  std::vector<std::int32_t> prompt{}, completion{};
  std::vector<double> logprobs{};      ///< of the completion's tokens, by the policy that sampled them
  std::vector<double> ref_logprobs{};  ///< by the reference; empty: none
  double advantage = 0.0;              ///< of every token, where `advantages` is empty
  std::vector<double> advantages{};    ///< one a token: a critic's
  std::vector<double> values{};        ///< of the completion's tokens, by the critic, before each was chosen
  std::vector<double> returns{};       ///< what these should have been
  bool masked = false;                 ///< counts for nothing (cut short, not scored)
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
    SequencePacker::Options rows = {};
    std::int64_t max_new_tokens = 128;  ///< for by_length
    double temperature = 1.0;
    PolicyWeights weights = PolicyWeights::by_token;
    PolicyGradientArgs objective = {};
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
  /// The same rows for a critic: its values are drawn to the returns, each token weighing as much as another.
  std::vector<MicroBatch> build_values(const std::vector<const Experience*>& batch, const BatchTotals& totals,
                                       std::int64_t num_micro_batches, double clip, Stream& stream);
  /// The numbers of the completion's tokens of batch[i], from those of all tokens of every micro-batch.
  std::vector<double> of_completion(std::size_t index, const std::vector<std::vector<double>>& numbers) const;
  /// Where the completion of batch[i] lies: micro-batch and the first of its losses.
  SequencePacker::Place place_of(std::size_t index) const { return places_[index]; }

 private:
  /// One number for every completion token, 0 elsewhere.
  template <class F>
  Tensor per_token(const std::vector<const Experience*>& batch, std::size_t m, const F& number, Stream& stream) const;

  Options options_;
  SequencePacker packer_;
  std::vector<TokenSequence> sequences_;
  std::vector<std::size_t> lengths_;           ///< of each experience's completion
  std::vector<SequencePacker::Place> places_;  ///< of each experience's first completion token
};

}  // namespace athanor
