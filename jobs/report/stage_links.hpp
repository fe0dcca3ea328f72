// What a stage takes from the stages before it: weights it begins from, conversations they kept, scores of a reward
// model, a teacher's distributions. Law: pure; a link names an earlier stage of the same recipe, never a file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/options/job_options.hpp"

namespace athanor {

enum class LinkKind : std::uint8_t {
  weights,  ///< init: begins from them, samples or measures them
  data,     ///< sft.data = stage:NAME
  reward,   ///< learned:NAME among its rewards, or rl.critic
  teacher   ///< distill.teacher
};

struct StageLink {
  std::string from;
  LinkKind kind;
  bool operator==(const StageLink&) const = default;
};

/// Each once, weights first. @param earlier  names of the stages before it.
/// @throws ConfigError for rewards that cannot be read.
std::vector<StageLink> stage_links(const StageOptions& stage, const JobOptions& job,
                                   std::span<const std::string> earlier);

}  // namespace athanor
