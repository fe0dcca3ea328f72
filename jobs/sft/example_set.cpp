#include "jobs/sft/example_set.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {

std::int64_t Example::num_learned() const {
  // The first token is never a target.
  return learned.empty() ? 0 : std::count(learned.begin() + 1, learned.end(), std::uint8_t{1});
}

ExampleSet::ExampleSet(std::vector<Example> examples, std::uint64_t seed)
    : examples_(std::move(examples)), seed_(seed) {
  if (examples_.empty()) throw ConfigError("sft.data: no conversation is left to train on");
  std::string all;
  for (const Example& example : examples_) {
    all.append(reinterpret_cast<const char*>(example.tokens.data()), example.tokens.size() * sizeof(std::int32_t));
    all.append(reinterpret_cast<const char*>(example.learned.data()), example.learned.size());
  }
  fingerprint_ = stable_hash(all) ^ seed_;
}

std::vector<Example> ExampleSet::hold_out(double share) {
  std::vector<Example> held_out, kept;
  if (share <= 0.0 || examples_.size() < 2) return held_out;
  const auto wanted = static_cast<std::size_t>(std::llround(share * static_cast<double>(examples_.size())));
  const std::size_t count = std::clamp<std::size_t>(wanted, 1, examples_.size() - 1);
  const Philox random(seed_, RandomPurpose::data_order, ~std::uint64_t{0});
  for (std::size_t i = 0; i < examples_.size(); ++i) {
    auto& side = permuted_index(random, examples_.size(), i) < count ? held_out : kept;
    side.push_back(std::move(examples_[i]));
  }
  examples_ = std::move(kept);
  return held_out;
}

const Example& ExampleSet::example(std::int64_t number) const {
  const auto epoch = static_cast<std::uint64_t>(number / size());
  const Philox random(seed_, RandomPurpose::data_order, epoch);
  return examples_[permuted_index(random, examples_.size(), static_cast<std::uint64_t>(number % size()))];
}

std::vector<std::vector<std::size_t>> deal_by_length(const std::vector<std::int64_t>& lengths, int ranks) {
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });
  const auto count = static_cast<std::size_t>(ranks);
  std::vector<std::vector<std::size_t>> dealt(count);
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t round = i / count, place = i % count;
    dealt[round % 2 == 0 ? place : count - 1 - place].push_back(order[i]);
  }
  return dealt;
}

}  // namespace athanor
