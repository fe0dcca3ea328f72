// Conversations as token sequences with what of them is learned, in an order without end.
// Laws
//  * Example number k is a pure function of (examples, seed, k): an epoch visits each once, in an order permuted anew.
//    So the position of a run is one integer, and no rank count plays a part.
//  * All ranks see all examples and deal a batch out alike, without a message.
#pragma once

#include <cstdint>
#include <vector>

#include "jobs/sft/example_file.hpp"

namespace athanor {

class ExampleSet {
 public:
  ExampleSet(ExampleFile file, std::uint64_t seed);

  /// Sets this share of them aside, chosen by the seed: at least one and not all, where the share is above 0.
  /// @returns those set aside.
  std::vector<Example> hold_out(double share);

  std::int64_t size() const { return std::ssize(numbers_); }
  Example example(std::int64_t number) const;
  /// Changes whenever any example would. A run that resumes compares it.
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  ExampleFile file_;
  std::vector<std::int64_t> numbers_;  ///< in the file, of those that are not held out
  std::uint64_t seed_;
  std::uint64_t fingerprint_;
};

/// Which of `lengths` each of `ranks` takes: the longest first, back and forth over the ranks, so that all have about
/// as many tokens.
std::vector<std::vector<std::size_t>> deal_by_length(const std::vector<std::int64_t>& lengths, int ranks);

}  // namespace athanor
