// A prompt with answers of which some are better: read from a file (io/dataset/preference_file.hpp) or made by a rule
// (preference_maker.hpp). What a reward model learns from.
#pragma once

#include <string>
#include <vector>

#include "src/task/problem.hpp"

namespace athanor {

struct PreferredAnswer {
  std::string content;      ///< what is said in the end: of an answer that reasons, its summary
  std::string reasoning{};  ///< before it; empty: none
};

struct Preference {
  Problem problem;  ///< its prompt or messages
  std::vector<PreferredAnswer> answers;
  std::vector<double> scores{};  ///< of each answer, higher is better, equal is a tie; empty: there are labels
  std::vector<double> labels{};  ///< of each answer: 1 good, 0 bad
};

/// Mean lengths of the answers' contents (with reasonings where `whole`), in bytes: better and worse ones of all pairs
/// that are no tie, or good and bad ones. Unequal lengths let a reward model count in place of reading.
struct AnswerLengths {
  double good = 0.0, bad = 0.0;
};
AnswerLengths answer_lengths(const std::vector<Preference>& preferences, bool whole);

}  // namespace athanor
