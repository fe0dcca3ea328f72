// Families of problems that are made, solved and checked by program. Laws:
//  * A problem is a pure function of (task, its options, seed, index, split): the same on every rank and after a
//  restart.
//  * Training and held-out problems are disjoint whatever the seeds: a hash of the canonical form, which knows neither
//    language nor level, decides the side (one form in eight is held out).
//  * Right solutions are accepted by the task's own check and wrong ones refused, always.
//  * Text is UTF-8, short: prompt and step-by-step solution stay under 256 bytes at the lower levels.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/named_spec.hpp"
#include "src/task/draw.hpp"
#include "src/task/problem.hpp"

namespace athanor {

enum class Split : std::uint8_t { train, held_out };
enum class SolutionStyle : std::uint8_t { direct, step_by_step };

/// What a worked solution says; the template gives it its form.
struct Solution {
  std::string thinking;  ///< empty: answered directly
  std::string answer;
};

/// In which words: English, Chinese, or signs alone, which belong to no language.
enum class Wording : std::uint8_t { english, chinese, symbols };

class Task {
 public:
  virtual ~Task() = default;
  const std::string& name() const { return name_; }

  Problem problem(std::uint64_t seed, std::uint64_t index, Split split) const;
  /// A solution of a problem of any task of this name, whatever its options. `correct` false: a plausible slip, carried
  /// on to the end; the answer is always wrong then.
  Solution solution(const Problem& problem, SolutionStyle style, bool correct) const;
  /// 1 right, 0 wrong, in whatever template the completion is.
  std::optional<double> verify(const Problem& problem, std::string_view completion) const;

 protected:
  /// Options every task has: level (1 to max_level), language (en|zh|both|symbols).
  Task(std::string name, SpecOptions& options, int max_level);

  int level() const { return level_; }
  /// The problem without difficulty, id, task and language, which are filled in from here.
  virtual Problem draw(Draw& draw, Wording wording) const = 0;
  /// @param slip  null: right; else draws what goes wrong.
  virtual Solution work_out(const Problem& problem, Wording wording, Draw* slip) const = 0;

 private:
  const std::string name_;
  const int level_;
  std::vector<Wording> wordings_;
};

/// Which side a canonical form is on.
Split split_of_form(std::string_view task, std::string_view form);

class TaskRegistry {
 public:
  using Make = std::function<std::unique_ptr<Task>(SpecOptions&)>;
  void add(std::string name, Make make);
  /// @throws ConfigError as RewardRegistry::make does.
  std::unique_ptr<Task> make(const NamedSpec& spec) const;
  std::unique_ptr<Task> make(std::string_view spec) const;
  std::vector<std::string> names() const;

 private:
  std::map<std::string, Make, std::less<>> makers_;
};

/// Every task of this folder.
void register_all_tasks(TaskRegistry& registry);

/// Tasks by weight: "arithmetic:level=2 @ 3, countdown:level=1".
class TaskMixture {
 public:
  /// @throws ConfigError also for a weight that is not positive.
  TaskMixture(std::string_view specs, const TaskRegistry& registry);
  TaskMixture(std::span<const NamedSpec> specs, const TaskRegistry& registry);

  Problem problem(std::uint64_t seed, std::uint64_t index, Split split) const;
  /// The task that made a problem. @throws Error when it is of none of these.
  const Task& task_of(const Problem& problem) const;

 private:
  struct Member {
    std::unique_ptr<Task> task;
    double cumulative_weight;  ///< of this one and those before
  };
  std::vector<Member> members_;
};

}  // namespace athanor
