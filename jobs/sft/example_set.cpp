#include "jobs/sft/example_set.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "src/base/rng.hpp"

namespace athanor {

std::int64_t Example::num_learned() const {
  // The first token is never a target.
  return learned.empty() ? 0 : std::count(learned.begin() + 1, learned.end(), std::uint8_t{1});
}

ExampleSet::ExampleSet(ExampleFile file, std::uint64_t seed)
    : file_(std::move(file)),
      numbers_(static_cast<std::size_t>(file_.size())),
      seed_(seed),
      fingerprint_(stable_hash(file_.checksum()) ^ seed) {
  std::iota(numbers_.begin(), numbers_.end(), std::int64_t{0});
}

std::vector<Example> ExampleSet::hold_out(double share) {
  std::vector<Example> held_out;
  std::vector<std::int64_t> kept;
  const std::size_t all = numbers_.size();
  if (share <= 0.0 || all < 2) return held_out;
  const auto wanted = static_cast<std::size_t>(std::llround(share * static_cast<double>(all)));
  const std::size_t count = std::clamp<std::size_t>(wanted, 1, all - 1);
  const Philox random(seed_, RandomPurpose::data_order, ~std::uint64_t{0});
  for (std::size_t i = 0; i < all; ++i) {
    if (permuted_index(random, all, i) < count)
      held_out.push_back(file_.example(numbers_[i]));
    else
      kept.push_back(numbers_[i]);
  }
  numbers_ = std::move(kept);
  return held_out;
}

Example ExampleSet::example(std::int64_t number) const {
  const auto epoch = static_cast<std::uint64_t>(number / size());
  const Philox random(seed_, RandomPurpose::data_order, epoch);
  return file_.example(numbers_[permuted_index(random, numbers_.size(), static_cast<std::uint64_t>(number % size()))]);
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
