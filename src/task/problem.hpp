// A problem whose answer a program can check: made by a task, or read from a user's file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/reward/reward.hpp"
#include "src/text/chat_template.hpp"

namespace athanor {

using PromptMessage = ChatMessage;

struct Problem {
  std::string prompt;                     ///< the question alone, without a template; messages: the last user's
  std::string answer;                     ///< as `reward_name` wants it
  std::string reward_name;                ///< which check decides `accuracy` (see AnswerChecks); empty: the default one
  std::string language;                   ///< "en", "zh", ...; empty: none in particular
  int difficulty = 0;                     ///< the task's level
  std::int64_t id = 0;                    ///< the same for the same task, form and language, whatever the seed; >= 0
  std::string task{};                     ///< which task made it; empty: from a file
  std::string form{};                     ///< language-free canonical form: what decides the split
  std::string worked{};                   ///< what the task needs to write solutions
  std::vector<TestCase> tests{};          ///< of a program to be written
  std::string code_language{};            ///< of that program ("python", "cpp"); empty: none in particular
  std::vector<PromptMessage> messages{};  ///< the whole conversation, where a file gives one
};

/// What rewards are asked about a completion of `problem`. @param completion_tokens  -1: not known.
RewardSample reward_sample(const Problem& problem, std::string_view completion, std::int64_t completion_tokens = -1);

}  // namespace athanor
