// A second model on the mesh of the policy that gives one number a token: a reward model, or the critic's values where
// nothing is trained. Without gradients.
// Laws
//  * Its layers are those of the checkpoint it is read from, its layout, device and type those of the job.
//  * A number depends on the sequence and the weights alone, not on what is packed beside it; where sums are cut (tp)
//  it
//    is the same to rounding.
//  * The score of a sequence is the value at its last token; the value of a completion's token is that of the state in
//    which it was chosen, so at the token before it. Source: InstructGPT (arXiv 2203.02155), section 3.5.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "jobs/environment.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/rollout/answer_batcher.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

/// A prompt and what follows it; both are read.
struct ScoredSequence {
  std::vector<std::int32_t> prompt, completion;
};

class ScalarModel {
 public:
  struct Options {
    std::int64_t row_tokens = 256;  ///< of a packed row; no sequence is longer
    std::int64_t rows_per_batch = 8;
  };
  /// Reads a checkpoint of a model with a scalar head. `env` must outlive this. Collective over the world.
  /// @param job  layout, device and type.   @param path  a checkpoint, stage or run folder.
  /// @param tokenizer  that of the sequences. @throws ConfigError when the checkpoint is of another tokenizer or has no
  /// scalar head; DataError when it is damaged.
  ScalarModel(Environment& env, const JobOptions& job, const std::filesystem::path& path, const Tokenizer& tokenizer,
              const Options& options);

  /// Of each sequence the value at its last token. Collective over the world: every rank gives its own sequences, the
  /// same along pp and tp, and also none.
  std::vector<double> score(std::span<const ScoredSequence> sequences);
  /// Of each sequence the values of its completion's tokens, before each is chosen. Collective, likewise.
  std::vector<std::vector<double>> values(std::span<const ScoredSequence> sequences);

  const MeshModel& model() const { return *model_; }
  const std::filesystem::path& checkpoint() const { return checkpoint_; }

 private:
  std::filesystem::path checkpoint_;
  Environment& env_;
  DType dtype_ = DType::f32;
  std::unique_ptr<MeshModel> model_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<AnswerBatcher> batcher_;
};

/// Values at all tokens of each sequence in packed rows, by a model in any state of training. Collective over the
/// world, likewise. @throws ConfigError for a sequence longer than a row.
std::vector<std::vector<double>> sequence_values(Environment& env, MeshModel& model, AnswerBatcher& batcher,
                                                 std::span<const std::vector<std::int32_t>> sequences);

}  // namespace athanor
