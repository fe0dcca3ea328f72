// Fine-tuning on conversations: a model, its optimizer and the place among the examples.
// Laws
//  * The loss is the mean over the learned tokens of the whole batch, whichever rank they lie on.
//  * Several conversations share a row of data.sequence_length tokens and do not see each other (parallel/packing).
//  * Routers' biases stay as pre-training balanced them; MTP modules rest.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "jobs/sft/example_set.hpp"
#include "jobs/sft/student_answers.hpp"
#include "jobs/sft/teacher.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/packing/sequence_packer.hpp"
#include "src/optim/lr_schedule.hpp"

namespace athanor {

class FineTuner {
 public:
  /// `env` and `examples` must outlive this. @param total_steps  over which the learning rate falls.
  /// @throws ConfigError for options that do not fit together.
  FineTuner(Environment& env, const JobOptions& options, const ExampleSet& examples, std::int64_t total_steps);

  /// Draws the student to a teacher's distribution, and has it write this share of each batch's answers itself.
  /// @param answers  null where the share is 0. Both must outlive this.
  void set_teacher(Teacher& teacher, StudentAnswers* answers, double on_policy);

  TrainedModel& trained() { return trained_; }
  const TrainedModel& trained() const { return trained_; }
  /// To be called when weights were read: new moments, from the first step.
  void start_from_weights();
  void initialize();

  /// The next step. Collective. @throws NonFiniteError on every rank.
  StepResult step();
  /// Mean loss in nats over the learned tokens of examples that all ranks hold. Collective.
  double loss_of(const std::vector<Example>& examples);

  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t tokens_seen() const { return tokens_seen_; }  ///< of conversations, without padding
  double learning_rate() const { return lr_; }
  std::map<std::string, std::string> values() const;
  /// @throws ConfigError when the examples are not those of the checkpoint.
  void restore(std::int64_t steps, std::int64_t tokens, const std::map<std::string, std::string>& values);

 private:
  /// The part of these that this rank takes, packed; as many micro-batches on every rank.
  std::vector<MicroBatch> build(const std::vector<const Example*>& batch);

  Environment& env_;
  const ExampleSet& examples_;
  JobOptions options_;
  SequencePacker packer_;
  LrSchedule lr_schedule_;
  TrainedModel trained_;
  Teacher* teacher_ = nullptr;
  StudentAnswers* answers_ = nullptr;
  std::int64_t written_by_student_ = 0;  ///< of each batch, the first so many
  std::int64_t steps_done_ = 0, tokens_seen_ = 0;
  double lr_ = 0.0;
};

}  // namespace athanor
