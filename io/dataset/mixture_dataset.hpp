// The training samples: windows of S+1 tokens from one or several sources, in an order without end.
// Laws:
//  * Sample i is a pure function of (sources, weights, S, seed, i): not of ranks, of micro-batches or of what was read
//    before. The position of a run is one integer, the next sample; resuming costs nothing.
//  * Which source: a fixed cycle of slots, each source having its share of them, spread evenly (largest deficit first).
//    So every stretch of samples holds the sources in their proportions.
//  * Which window: an epoch of a source visits each of its windows once, in an order permuted anew; the windows start
//  at
//    an offset drawn anew, so they cut the text elsewhere in every epoch. Documents follow each other (packing).
// Source of the idea: Megatron's GPTDataset and BlendedDataset, without their index files.
#pragma once

#include <string>
#include <vector>

#include "io/dataset/token_dataset.hpp"

namespace athanor {

struct WeightedSource {
  TokenDataset data;
  double weight = 1.0;  ///< share of the samples, relative to the other sources
};

class MixtureDataset {
 public:
  /// @throws ConfigError when there is no source, a weight is not positive, a source is shorter than one window, or the
  /// sources are of different tokenizers.
  MixtureDataset(std::vector<WeightedSource> sources, std::int64_t sequence_length, std::uint64_t seed);

  struct Window {
    std::size_t source;
    std::int64_t epoch, begin;  ///< of this source; first token in it
    friend bool operator==(const Window&, const Window&) = default;
  };
  Window window(std::int64_t sample) const;

  /// Sample `sample`, S+1 tokens: S inputs and, one further, S targets.
  void sample(std::int64_t sample, std::span<std::int32_t> out_S1) const;
  /// Samples [first, first + rows), rows of S+1 tokens.
  void samples(std::int64_t first, std::span<std::int32_t> out_BS1) const;

  std::int64_t sequence_length() const { return sequence_length_; }
  std::size_t num_sources() const { return sources_.size(); }
  /// Windows in one epoch of a source.
  std::int64_t windows_per_epoch(std::size_t source) const;
  /// How often sources have been gone through by the first `samples` samples.
  double epochs(std::size_t source, std::int64_t samples) const;
  /// The share of samples a source really has: its weight, rounded to a slot of the cycle.
  double share(std::size_t source) const;

  /// Changes whenever any sample would. A run that resumes compares it.
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  struct Slot {
    std::uint32_t source;
    std::uint32_t nth;  ///< slots of this source before it in the cycle
  };
  std::int64_t samples_of(std::size_t source, std::int64_t samples) const;

  std::vector<WeightedSource> sources_;
  std::vector<std::int64_t> slots_of_source_;
  std::vector<Slot> cycle_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace athanor
