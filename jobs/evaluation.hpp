// Held-out loss: every token of the held-out text scored once, the windows shared out over the data axis.
#pragma once

#include <functional>

#include "io/dataset/evaluation_windows.hpp"
#include "io/dataset/micro_batch_builder.hpp"
#include "jobs/environment.hpp"
#include "parallel/mesh_model.hpp"

namespace athanor {

struct EvaluationResult {
  double loss = 0.0;           ///< nats a token
  double perplexity = 0.0;     ///< exp(loss)
  double bits_per_byte = 0.0;  ///< of text
  std::int64_t tokens = 0, text_bytes = 0;
  double seconds = 0.0;
};

class Evaluator {
 public:
  /// As many rows at once as a rank trains on. Everything passed must outlive this. @param options  data, model, dtype.
  Evaluator(Environment& env, MeshModel& model, const EvaluationWindows& windows, const JobOptions& options,
            std::int32_t eos_id);

  /// Collective over the world. The result is the same on every rank.
  /// @param before_batch  called before every batch, as often on every rank; may be collective, and throw.
  EvaluationResult run(const std::function<void()>& before_batch = nullptr);
  /// Counts the experts' tokens (MeshModel::expert_loads) on about this share of the text.
  void count_experts(double share);

 private:
  struct Sums;
  std::int64_t all_calls() const;
  Sums score(std::int64_t calls, bool counting_experts, const std::function<void()>& before_batch = nullptr);

  Backend& ops_;
  MeshModel& model_;
  const EvaluationWindows& windows_;
  ProcessMesh& mesh_;
  Stream& compute_;
  Stream& comm_;
  MicroBatchBuilder builder_;
  std::int64_t sequences_;
  Tensor sum_1_;
};

}  // namespace athanor
