// The model that a policy is kept near to: the weights it began with, or had at the last refresh. Its log-probabilities
// are those of its own training forward on packed completions.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "jobs/environment.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/rollout/experience.hpp"
#include "src/backend/named_shard.hpp"

namespace athanor {

class ReferencePolicy {
 public:
  /// A model like the policy's, on the same mesh. Everything passed must outlive this.
  ReferencePolicy(Environment& env, const JobOptions& options);

  /// Becomes the policy as it is.
  void copy_from(MeshModel& policy, const ParameterStore& policy_store);
  /// Named reference/..., written once for all copies of a weight.
  std::vector<NamedShard> shards() const;
  /// Fills ref_logprobs. Collective over the world.
  void score(std::span<Experience> experiences, ExperienceBatcher& batcher);

 private:
  Environment& env_;
  std::unique_ptr<MeshModel> model_;
  std::unique_ptr<ParameterStore> store_;
};

}  // namespace athanor
