// The preferences of a reward_model stage as tokens: from files or made by rules, one part held out.
// Law: the same on every rank, from the options alone.
#pragma once

#include <string>
#include <vector>

#include "io/options/job_options.hpp"
#include "jobs/rl/reward_input.hpp"
#include "parallel/rollout/answer_batcher.hpp"
#include "src/task/preference.hpp"

namespace athanor {

struct PreferenceData {
  std::vector<AnswerGroup> train, held_out;
  AnswerLengths lengths;          ///< of the training side, in bytes
  std::int64_t left_out = 0;      ///< lines that could not be used
  std::uint64_t fingerprint = 0;  ///< of all tokens, scores and labels
};

/// @param logs  says which lines are left out.
/// @throws ConfigError for sources there are none of, files with too many bad lines, preferences of the other kind of
/// loss, and when nothing is left to train on or to hold out.
PreferenceData read_preference_data(const JobOptions& options, const Tokenizer& tokenizer, bool logs);

}  // namespace athanor
