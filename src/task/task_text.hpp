// Text for a base model: problems of the training split with the solutions a mixed crowd would write, right and wrong,
// direct and step by step, in one language or in two. What reinforcement can find later has to occur here, and step by
// step has to be right more often than directly: that difference is what it amplifies. The same problems and solutions
// as conversations are data for supervised fine-tuning.
#pragma once

#include <string>
#include <vector>

#include "src/task/prompt_template.hpp"
#include "src/task/task.hpp"

namespace athanor {

/// text: documents of a template. chats: conversations.
enum class TaskTextKind : std::uint8_t { text, chats };

struct TaskTextOptions {
  double step_by_step = 0.15;       ///< share of documents that think first; of chats 1
  double wrong_direct = 0.6;        ///< share of the direct ones that are wrong; of chats 0
  double wrong_step_by_step = 0.0;  ///< share of the others that are wrong
  double mixed_language = 0.0;      ///< share of those that think first whose sentences are in a language each
  double in_sentences = 0.0;  ///< of text: share of those that think first told as a chat would, whatever the template
  PromptTemplate form = PromptTemplate::marks;  ///< of text
  bool steps_in_content = false;  ///< of chats: steps stand before the answer's sentence, not in reasoning
  std::uint64_t seed = 1;
  std::int64_t bytes = 8'000'000;  ///< of text in all; of chats 1,000,000
};

/// A problem and the conversation made of it: the user's prompt and the assistant's answer.
struct TaskChat {
  Problem problem;
  std::vector<ChatMessage> messages;
  bool correct = true;
};

class TaskText {
 public:
  /// @param arguments  tasks and options, in any order, separated by commas: "arithmetic:level=4 @ 3, digits,
  /// step_by_step=0.2, template=tags". Chats have steps=reasoning|content in place of template. @throws ConfigError
  explicit TaskText(std::string_view arguments, TaskTextKind kind = TaskTextKind::text);

  const TaskTextOptions& options() const { return options_; }
  /// Prompt and completion number `index`, a pure function of the arguments and `index`.
  std::string document(std::uint64_t index) const;
  /// The same as a conversation.
  TaskChat chat(std::uint64_t index) const;

 private:
  struct Drawn {
    Problem problem;
    Solution solution;
    bool correct, in_sentences;
  };
  Drawn draw(std::uint64_t index) const;

  TaskMixture tasks_;
  TaskTextOptions options_;
};

}  // namespace athanor
