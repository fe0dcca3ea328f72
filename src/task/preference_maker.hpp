// Preferences made by a rule: answers to generated problems, right and wrong, polite or not, short or long, clean or
// not, and which of them are better. Laws
//  * A pure function of the arguments and the side (training or held out): the same on every rank.
//  * Helpful, as DeepSeek-R1's pairs were made (Nature 2025, supplement; FACTS 3.3): two answers are judged four times
//  by
//    a judge with some noise, in an order drawn anew each time because judges favour what they read first; labels
//    A>>B ... B>>A count 2 to -2, are averaged, and a pair is kept if they differ by more than 1. With more than two
//    answers the mean points of four judgements, rounded, rank them; equal ones are ties. Pairs are taken so that
//    better and worse answers are equally long over all.
//  * Safety: an answer is bad when the forbidden word stands in its reasoning or its content; good ones have
//    another word of as many characters in its place, so length says nothing.
//  * Which answer comes first is drawn.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/task/draw.hpp"
#include "src/task/preference_rule.hpp"
#include "src/task/task.hpp"

namespace athanor {

enum class PreferenceKind : std::uint8_t { helpful, safety };

struct PreferenceMakerOptions {
  PreferenceKind kind = PreferenceKind::helpful;
  std::int64_t prompts = 2000;     ///< of the training side; an eighth as many are held out
  std::int64_t answers = 2;        ///< helpful: to each prompt
  double noise = 0.5;              ///< helpful: standard deviation of a judgement, in points
  double first_favoured = 0.25;    ///< helpful: points that a judge adds to the answer it reads first
  std::string forbidden = "darn";  ///< safety
  double bad_share = 0.5;          ///< safety: of the answers
  std::uint64_t seed = 1;
  HelpfulRule rule = {};
};

class PreferenceMaker {
 public:
  /// @param text  "helpful(arithmetic:level=2 @ 3, digits, prompts=2000, answers=4)" or "safety(digits,
  /// forbidden=darn)"; options: those above, right=, polite=, brief=, brief_length=. @throws ConfigError
  explicit PreferenceMaker(std::string_view text);
  /// Whether a source is named that this makes: it begins with one of the kinds and a parenthesis.
  static bool makes(std::string_view text);

  const PreferenceMakerOptions& options() const { return options_; }
  /// All of one side. @throws ConfigError when the rule leaves too few pairs that can be balanced.
  std::vector<Preference> make(Split split) const;

 private:
  Preference helpful(std::uint64_t index, Split split) const;
  Preference safety(std::uint64_t index, Split split) const;
  PreferredAnswer drawn_answer(const Problem& problem, Draw& draw) const;
  /// Scores of the answers; empty: the judges do not tell them apart.
  std::vector<double> judged(const Preference& preference, Draw& draw) const;

  PreferenceMakerOptions options_;
  TaskMixture tasks_;
};

}  // namespace athanor
