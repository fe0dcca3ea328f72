// Families of problems that are made, solved and checked by program. Laws, beside those of task.hpp:
//  * A hash of the canonical form, which knows neither language nor level, decides the side (one form in eight is held
//    out).
//  * Right solutions are accepted by the task's own check and wrong ones refused, always.
//  * Text is UTF-8, short: prompt and step-by-step solution stay under 256 bytes at the lower levels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/task/draw.hpp"
#include "src/task/task.hpp"

namespace athanor {

/// In which words: English, Chinese, or signs alone, which belong to no language.
enum class Wording : std::uint8_t { english, chinese, symbols };

class GeneratedTask : public Task {
 public:
  Problem problem(std::uint64_t seed, std::uint64_t index, Split split) const final;
  Solution solution(const Problem& problem, SolutionStyle style, bool correct) const final;

 protected:
  /// Options every generated task has: level (1 to max_level), language (en|zh|both|symbols).
  GeneratedTask(std::string name, SpecOptions& options, int max_level);

  int level() const { return level_; }
  /// The problem without difficulty, id, task and language, which are filled in from here.
  virtual Problem draw(Draw& draw, Wording wording) const = 0;
  /// @param slip  null: right; else draws what goes wrong.
  virtual Solution work_out(const Problem& problem, Wording wording, Draw* slip) const = 0;

 private:
  Solution work_out_as_drawn(const Problem& problem, Wording wording, bool correct) const;
  /// The thinking, sentence by sentence in a language drawn at random.
  std::string mixed_thinking(const Problem& problem, bool correct) const;

  const int level_;
  std::vector<Wording> wordings_;
};

}  // namespace athanor
