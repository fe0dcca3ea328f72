// The model of a stage that does not train: weights of `init` without gradients, and what generates with them. Used by
// stages of kind evaluate and rejection_sampling.
#pragma once

#include <memory>
#include <string_view>

#include "jobs/rl/problem_scorer.hpp"
#include "jobs/stage.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/rollout/rollout_engine.hpp"

namespace athanor {

class InferenceModel {
 public:
  /// Collective. Reads the weights of context.stage.init. @param context  must outlive this. @throws ConfigError where
  /// `init` is empty or names no weights, DataError
  explicit InferenceModel(StageContext& context);

  MeshModel& model() { return *model_; }
  /// @param samples  completions of a prompt, at least so many slots; @param rows  tokens of the longest prompt and its
  /// completion; @param tokenizer  must outlive the engine.
  std::unique_ptr<RolloutEngine> make_engine(std::int64_t samples, std::int64_t rows, const Tokenizer& tokenizer);

 private:
  StageContext& context_;
  std::unique_ptr<MeshModel> model_;
  ParameterStore store_;
};

/// @throws ConfigError where the stage's `init` is empty.
void require_init(const StageContext& context);

/// Tokens that are left for a prompt. @param key  names the option in messages. @throws ConfigError when the model
/// cannot generate so many, or has fewer tokens than the tokenizer.
std::int64_t prompt_room(const JobOptions& options, const Tokenizer& tokenizer, std::int64_t max_new_tokens,
                         std::string_view key);

}  // namespace athanor
