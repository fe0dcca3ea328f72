#include "jobs/rl/shared_scores.hpp"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();  // scores are finite or missing

/// Every number of the scores, in one fixed order: total, right, and value and fault of each part.
std::vector<double> numbers_of(const ScoredGroups& scored) {
  std::vector<double> numbers;
  for (std::size_t i = 0; i < scored.results.size(); ++i) {
    numbers.push_back(scored.results[i].total.value_or(kNone));
    numbers.push_back(scored.right[i] ? (*scored.right[i] ? 1.0 : 0.0) : kNone);
    for (const RewardPart& part : scored.results[i].parts) {
      numbers.push_back(part.value.value_or(kNone));
      numbers.push_back(static_cast<double>(part.fault));
    }
  }
  return numbers;
}

std::optional<double> known(double number) { return number == number ? std::optional(number) : std::nullopt; }

}  // namespace

void share_scores(ScoredGroups& scored, HostGroup& group) {
  if (group.size() == 1) return;
  std::vector<double> numbers = numbers_of(scored);
  const std::size_t bytes = numbers.size() * sizeof(double);
  const std::string first = group.broadcast(std::string(reinterpret_cast<const char*>(numbers.data()), bytes), 0);
  if (!group.all_agree(first.size() == bytes))
    throw CollectiveMismatch(
        fmt::format("rank {} of its group scored {} numbers, rank 0 {}: other completions or rewards", group.rank(),
                    numbers.size(), first.size() / sizeof(double)));
  std::memcpy(numbers.data(), first.data(), bytes);
  auto number = numbers.begin();
  for (std::size_t i = 0; i < scored.results.size(); ++i) {
    scored.results[i].total = known(*number++);
    const auto right = known(*number++);
    scored.right[i] = right ? std::optional(*right > 0.5) : std::nullopt;
    for (RewardPart& part : scored.results[i].parts) {
      part.value = known(*number++);
      part.fault = static_cast<RewardFault>(*number++);
    }
  }
}

}  // namespace athanor
