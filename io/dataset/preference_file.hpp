// Preferences between answers from users' .jsonl files (plain or gzip). A line is one of
//   {"prompt" | "messages", "chosen", "rejected"}               a pair (Anthropic hh-rlhf, UltraFeedback, TRL)
//   {"prompt" | "messages", "completions": [...], "scores": [...]}   K answers, higher is better
//   {"prompt" | "messages", "completions": [...], "ranks": [...]}    K answers, 1 is best; equal ones are ties
//   {"prompt" | "messages", "completion", "label"}              one answer: 1, true, "safe", "good", or 0, false,
//                                                               "unsafe", "bad"
// prompt: text or a list of {"role", "content"}; messages: such a list, of which the last is the user's. An answer:
// text, or a list of messages whose last is the assistant's; what stands before a last `</think>` is its reasoning, or
// the message's "reasoning_content". Other fields are left alone. Law: a line that cannot be used is reported with file
// and line, counted, and left out up to a stated share; above it nothing of the file is used.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "src/task/preference.hpp"

namespace athanor {

/// One line. @param place  "file: line 3", begins every message. @throws ConfigError
Preference parse_preference(const nlohmann::json& object, const std::string& place);

/// What becomes of lines that cannot be used.
struct BadPreferences {
  double max_share = 0.01;  ///< of the lines; up to here they are left out, above it is an error
  /// Why a preference that could be read cannot be used (too long, the other kind); empty: it can. None: all can.
  std::function<std::string(const Preference&)> refusal{};
  /// Told of each that is left out: "file: line 3: ...". None: nobody.
  std::function<void(const std::string&)> report{};
};

/// All preferences of a file, in order. @throws ConfigError naming the first bad lines when there are too many, also
/// when the file has none.
std::vector<Preference> read_preferences(const std::string& path, const BadPreferences& bad = {});

}  // namespace athanor
