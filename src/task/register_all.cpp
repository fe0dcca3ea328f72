#include "src/task/task_list.hpp"

namespace athanor {

void register_all_tasks(TaskRegistry& registry) {
  registry.add("arithmetic", make_arithmetic);
  registry.add("comparison", make_comparison);
  registry.add("countdown", make_countdown);
  registry.add("digits", make_digits);
  registry.add("logic", make_logic);
  registry.add("words", make_words);
}

}  // namespace athanor
