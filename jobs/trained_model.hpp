// A model with memory for its gradients and an optimizer on it, as every stage that trains has one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/options/job_options.hpp"
#include "jobs/environment.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/train_step.hpp"

namespace athanor {

SchedulePlan schedule_of(const ParallelOptions& options);
/// The part of the model that this rank of the mesh trains.
/// @param placements  of experts by layer, for inference; empty: in order.
std::unique_ptr<MeshModel> make_model(Backend& ops, const JobOptions& options, ProcessMesh& mesh, Stream& stream,
                                      std::map<std::string, ExpertPlacement> placements = {});

/// A value of a checkpoint's run state. @param kind  of the stage that must have left it ("an sft stage").
/// @throws DataError where it is not there.
const std::string& saved_value(const std::map<std::string, std::string>& values, const std::string& name,
                               std::string_view kind);

struct TrainedModel {
  /// Weights are unset until initialize() or a load. Collective; `env` must outlive this. @throws ConfigError
  TrainedModel(Environment& env, const JobOptions& options);

  /// New weights from the seed, new moments.
  void initialize(std::uint64_t seed, Stream& stream);

  /// Model tensors alone, whole on this rank: for starting from another stage's weights.
  std::vector<NamedShard> weight_shards() const;
  /// Of a checkpoint: model, optimizer, router biases.
  std::vector<NamedShard> shards() const { return step->shards(); }

  std::unique_ptr<MeshModel> model;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<TrainStep> step;
};

}  // namespace athanor
