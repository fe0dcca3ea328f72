// A model whose next-token distribution a student is drawn to. Law: it lies on the student's mesh and is cut as the
// student is, so its hidden states are where the student's head needs them; its logits exist a few rows at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "jobs/environment.hpp"
#include "parallel/mesh_model.hpp"

namespace athanor {

class Teacher {
 public:
  /// Collective. @param checkpoint  of the teacher, which says what model it is; @param student  gives layout, type and
  /// [distill]. `env` must outlive this. @throws ConfigError where the two have different vocabularies, or tp cuts
  /// them.
  Teacher(Environment& env, const std::filesystem::path& checkpoint, const JobOptions& student, HostGroup& world);

  /// Adds what the teacher says of these tokens. Collective.
  void teach(MicroBatch& micro_batch);

 private:
  Environment& env_;
  JobOptions options_;  ///< the teacher's
  DistillOptions distill_;
  std::unique_ptr<MeshModel> model_;
  std::unique_ptr<ParameterStore> store_;
  std::function<Tensor(ExecContext&, const Tensor&)> logits_;
};

}  // namespace athanor
