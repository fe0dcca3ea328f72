// Which answer most completions of a problem give: maj@k, also called cons@k and self-consistency.
// Laws: answers are clustered by the problem's own check, not by their text; completions without an answer do not vote;
// of clusters of one size the one seen first wins. Source: Wang et al. 2022 (arXiv 2203.11171); DeepSeek-R1, cons@64.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "src/reward/answer_check.hpp"

namespace athanor {

struct AnswerVote {
  std::vector<std::optional<std::size_t>> clusters;  ///< of each completion, numbered as seen; nullopt: gives no answer
  std::optional<std::size_t> winner;                 ///< nullopt: nobody voted
  bool is_right = false;                             ///< the winner is
};

/// @param group  completions of one problem. @param right  what the check said of each. Those it found right are one
/// cluster; of two others the check is asked with the one's answer in place of the reference, and where it cannot read
/// that, equal texts are equal answers.
AnswerVote vote_on_answers(std::span<const RewardSample> group, std::span<const std::optional<bool>> right,
                           const AnswerChecks& checks);

}  // namespace athanor
