// Where problems come from whose answers a program checks: made by program (generated_task.hpp) or read from users'
// files (io/dataset/problem_file_task.hpp). Laws:
//  * A problem is a pure function of (task, its options, seed, index, split): the same on every rank and after a
//    restart.
//  * Training and held-out problems are disjoint whatever the seeds: the problem alone decides its side.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/named_spec.hpp"
#include "src/task/problem.hpp"

namespace athanor {

enum class Split : std::uint8_t { train, held_out };
/// mixed_language: as step_by_step, each sentence of the thinking in English or Chinese by chance, the answer as ever.
enum class SolutionStyle : std::uint8_t { direct, step_by_step, mixed_language };

/// What a worked solution says; the template gives it its form.
struct Solution {
  std::string thinking;  ///< empty: answered directly
  std::string answer;
};

class Task {
 public:
  virtual ~Task() = default;
  const std::string& name() const { return name_; }

  /// Different problems of a side; nullopt: no end to them that is known.
  virtual std::optional<std::int64_t> num_problems(Split) const { return std::nullopt; }
  /// @throws Error when there is none.
  virtual Problem problem(std::uint64_t seed, std::uint64_t index, Split split) const = 0;
  /// A solution of a problem of any task of this name, whatever its options. `correct` false: a plausible slip, carried
  /// on to the end; the answer is always wrong then. @throws ConfigError where a task knows no solutions, and for
  /// mixed_language where the problem is in no language.
  virtual Solution solution(const Problem& problem, SolutionStyle style, bool correct) const = 0;
  /// 1 right, 0 wrong, in whatever template the completion is.
  std::optional<double> verify(const Problem& problem, std::string_view completion) const;
  /// Of the content the problems come from, where that is no program: two of the same value give the same problems.
  virtual std::uint64_t fingerprint() const { return 0; }

 protected:
  explicit Task(std::string name) : name_(std::move(name)) {}

 private:
  const std::string name_;
};

/// A hash whose every bit follows from all of the text.
std::uint64_t form_hash(std::string_view text);
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

  /// Of a single task; nullopt for several.
  std::optional<std::int64_t> num_problems(Split split) const;
  Problem problem(std::uint64_t seed, std::uint64_t index, Split split) const;
  std::uint64_t fingerprint() const;
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
