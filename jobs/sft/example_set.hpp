// Conversations as token sequences with what of them is learned, in an order without end.
// Laws
//  * Example number k is a pure function of (examples, seed, k): an epoch visits each once, in an order permuted anew.
//    So the position of a run is one integer, and no rank count plays a part.
//  * All ranks hold all examples and deal a batch out alike, without a message.
#pragma once

#include <cstdint>
#include <vector>

namespace athanor {

/// A conversation as tokens; learned[i]: token i is the assistant's, so a target that counts.
struct Example {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> learned;

  std::int64_t num_learned() const;
};

class ExampleSet {
 public:
  /// @throws ConfigError where there is nothing to train on.
  ExampleSet(std::vector<Example> examples, std::uint64_t seed);

  /// Sets this share of them aside, chosen by the seed: at least one and not all, where the share is above 0.
  /// @returns those set aside.
  std::vector<Example> hold_out(double share);

  std::int64_t size() const { return std::ssize(examples_); }
  const Example& example(std::int64_t number) const;
  /// Changes whenever any example would. A run that resumes compares it.
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  std::vector<Example> examples_;
  std::uint64_t seed_;
  std::uint64_t fingerprint_ = 0;
};

/// Which of `lengths` each of `ranks` takes: the longest first, back and forth over the ranks, so that all have about
/// as many tokens.
std::vector<std::vector<std::size_t>> deal_by_length(const std::vector<std::int64_t>& lengths, int ranks);

}  // namespace athanor
