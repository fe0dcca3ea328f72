// Text for a base model: problems of the training split with the solutions a mixed crowd would write, right and wrong,
// direct and step by step. What reinforcement can find later has to occur here, and step by step has to be right more
// often than directly: that difference is what it amplifies.
#pragma once

#include <string>

#include "src/task/prompt_template.hpp"
#include "src/task/task.hpp"

namespace athanor {

struct TaskTextOptions {
  double step_by_step = 0.15;       ///< share of documents that think first
  double wrong_direct = 0.6;        ///< share of the direct ones that are wrong
  double wrong_step_by_step = 0.0;  ///< share of the others that are wrong
  PromptTemplate form = PromptTemplate::marks;
  std::uint64_t seed = 1;
  std::int64_t bytes = 8'000'000;  ///< of text in all
};

class TaskText {
 public:
  /// @param arguments  tasks and options, in any order, separated by commas: "arithmetic:level=4 @ 3, digits,
  /// step_by_step=0.2, template=tags". @throws ConfigError
  explicit TaskText(std::string_view arguments);

  const TaskTextOptions& options() const { return options_; }
  /// Prompt and completion number `index`, a pure function of the arguments and `index`.
  std::string document(std::uint64_t index) const;

 private:
  TaskMixture tasks_;
  TaskTextOptions options_;
};

}  // namespace athanor
