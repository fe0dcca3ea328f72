// Answers that a student writes itself to the questions of examples, for learning on its own mistakes (GKD, arXiv
// 2306.13649). Law: an answer is a function of (seed, example number, weights), whichever rank writes it.
#pragma once

#include <memory>
#include <vector>

#include "jobs/environment.hpp"
#include "jobs/sft/example_set.hpp"
#include "parallel/rollout/rollout_engine.hpp"

namespace athanor {

class StudentAnswers {
 public:
  /// @param end_id  ends an answer. `env` and `model` must outlive this.
  StudentAnswers(Environment& env, MeshModel& model, const JobOptions& options, std::int32_t end_id);

  /// The examples with the student's answers in place of theirs: all on every rank. What stands before the first
  /// learned token is the question. Collective over the world. @param first_number  of the first example.
  std::vector<Example> write(const std::vector<const Example*>& examples, std::int64_t first_number);

 private:
  Environment& env_;
  RolloutOptions sampling_;
  std::int64_t row_tokens_;
  RolloutEngine engine_;
};

}  // namespace athanor
