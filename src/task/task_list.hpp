// The makers of all tasks, one a file of the same name.
#pragma once

#include "src/task/generated_task.hpp"

namespace athanor {

std::unique_ptr<Task> make_arithmetic(SpecOptions& options);
std::unique_ptr<Task> make_comparison(SpecOptions& options);
std::unique_ptr<Task> make_countdown(SpecOptions& options);
std::unique_ptr<Task> make_digits(SpecOptions& options);
std::unique_ptr<Task> make_logic(SpecOptions& options);
std::unique_ptr<Task> make_words(SpecOptions& options);

}  // namespace athanor
