// Problems and completions from users' .jsonl files. Fields of a line:
//   prompt      text, or a list of {"role", "content"}           answer   text, number, or true/false
//   reward      which check decides (exact, countdown, ...)      language "en", "zh", ...
//   tests       list of {"input", "output"}                      id       number or text; else made from the prompt
//   code_language "python", "cpp" (language does as well)        verification_info  {language, test_cases}: open-r1's
//   target, numbers (or nums)                                    a countdown problem, in place of answer
//   completion  text, or messages (the first one's content)      completion_tokens  how many it has
// Fields not named here are left alone. Law: a field that is there with a wrong type is an error naming file and line.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "src/task/problem.hpp"

namespace athanor {

/// Other names of the two fields that data sets name differently.
struct ProblemFields {
  std::string prompt = "prompt", answer = "answer";
  std::string
      answer_mark{};  ///< the answer is what stands behind the last of these ("####" in GSM8K); empty: all of it
};

/// One line. @param place  "file: line 3", begins every message. @throws ConfigError
Problem parse_problem(const nlohmann::json& object, const std::string& place, const ProblemFields& fields = {});
/// As parse_problem, but a prompt is not needed. @throws ConfigError also when there is no completion.
RewardSample parse_reward_sample(const nlohmann::json& object, const std::string& place);

/// What becomes of lines that cannot be used.
struct BadLines {
  double max_share = 0.0;  ///< of the lines; up to here they are left out, above it is an error
  /// Why a problem that could be read cannot be used; empty: it can. None: all can.
  std::function<std::string(const Problem&)> refusal{};
  /// Told of each that is left out: "file: line 3: ...". None: nobody.
  std::function<void(const std::string&)> report{};
};

/// All problems of a file, in order. @throws ConfigError naming the first bad lines when there are too many, also when
/// the file has no problem.
std::vector<Problem> read_problems(const std::string& path, const ProblemFields& fields = {},
                                   const BadLines& bad_lines = {});

}  // namespace athanor
