// PPO's critic: a model with a scalar head that says, before each token, what the completion will earn; trained beside
// the policy by an optimizer of its own.
// Law: it begins from a reward model, or from the policy's layers with a new head, and is saved and read with the
// stage. Source: InstructGPT (arXiv 2203.02155), section 3.5; values and clip as in FACTS 4.8.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "jobs/trained_model.hpp"
#include "parallel/rollout/experience.hpp"
#include "src/optim/lr_schedule.hpp"

namespace athanor {

class Critic {
 public:
  /// `env` must outlive this. @throws ConfigError
  Critic(Environment& env, const JobOptions& options);

  /// Where the stage begins: a reward model's weights, or a policy's with a head from the seed. Collective.
  /// @throws ConfigError, DataError
  void load(const std::filesystem::path& checkpoint, HostGroup& world);
  /// To be called when weights were read: new moments.
  void start_from_weights() { trained_.step->start(); }
  /// Of the stage's own checkpoint: named critic/...
  std::vector<NamedShard> shards() const;
  std::string state() const { return trained_.step->state(); }
  void restore(const std::string& state);

  /// Fills the values of the completions' tokens. Collective over the world.
  void score(std::span<Experience> experiences, ExperienceBatcher& batcher);
  /// One update towards the returns. Collective. @param step  from 1; steps_done before it.
  StepResult update(const std::vector<MicroBatch>& micro_batches, std::int64_t step);

 private:
  Environment& env_;
  std::uint64_t seed_;
  LrSchedule lr_schedule_;
  TrainedModel trained_;
};

}  // namespace athanor
