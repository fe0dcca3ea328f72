#include "src/reward/answer_vote.hpp"

#include "src/reward/answer_extraction.hpp"

namespace athanor {
namespace {

struct Cluster {
  bool right;
  std::size_t first;  ///< member, whose answer the others are compared with
  std::size_t votes = 0;
};

bool same_answer(const RewardSample& first, const RewardSample& other, const AnswerChecks& checks) {
  if (extract_answer(first) == extract_answer(other)) return true;
  try {
    return checks.give_same_answer(first, other);
  } catch (...) {  // a check that fails on what a model wrote says nothing of it
    return false;
  }
}

}  // namespace

AnswerVote vote_on_answers(std::span<const RewardSample> group, std::span<const std::optional<bool>> right,
                           const AnswerChecks& checks) {
  AnswerVote vote;
  std::vector<Cluster> clusters;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const bool is_right = right[i].value_or(false);
    const auto answer = extract_answer(group[i]);
    vote.clusters.emplace_back();
    if (!is_right && (!answer || answer->empty())) continue;
    std::size_t c = 0;
    while (
        c < clusters.size() &&
        !(is_right ? clusters[c].right : !clusters[c].right && same_answer(group[clusters[c].first], group[i], checks)))
      ++c;
    if (c == clusters.size()) clusters.push_back({is_right, i});
    ++clusters[c].votes;
    vote.clusters.back() = c;
  }
  for (std::size_t c = 0; c < clusters.size(); ++c)
    if (!vote.winner || clusters[c].votes > clusters[*vote.winner].votes) vote.winner = c;
  vote.is_right = vote.winner && clusters[*vote.winner].right;
  return vote;
}

}  // namespace athanor
