#include "jobs/rl/reference_policy.hpp"

#include <algorithm>

#include "jobs/rl/token_numbers.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/data/owned_slices.hpp"

namespace athanor {

ReferencePolicy::ReferencePolicy(Environment& env, const JobOptions& options)
    : env_(env),
      model_(make_model(*env.ops, options, *env.mesh, *env.compute)),
      store_(std::make_unique<ParameterStore>(*env.ops, model_->parameters(),
                                              ParameterStore::Options{.with_gradients = false}, *env.compute)) {}

void ReferencePolicy::copy_from(MeshModel& policy, const ParameterStore& policy_store) {
  // The two stores are padded differently, so parameter by parameter.
  for (const Parameter* twin : store_->parameters()) {
    const auto& all = policy_store.parameters();
    const auto source =
        std::find_if(all.begin(), all.end(), [&](const Parameter* p) { return p->name() == twin->name(); });
    env_.ops->copy(twin->weight, (*source)->weight, *env_.compute);
  }
  const auto from = policy.states(), to = model_->states();
  for (std::size_t i = 0; i < from.size(); ++i) env_.ops->copy(to[i]->tensor, from[i]->tensor, *env_.compute);
}

std::vector<NamedShard> ReferencePolicy::shards() const {
  std::vector<NamedShard> shards;
  const ReductionRanks ranks(*env_.mesh);
  for (const Parameter* parameter : store_->parameters()) {
    ShardSpec spec = parameter->spec;
    spec.name = "reference/" + spec.name;
    shards.push_back({spec, parameter->weight, ranks.of(parameter->group).rank() == 0});
  }
  for (NamedShard& state : state_shards(model_->states(), env_.mesh->coord(Axis::layer) == 0)) {
    state.spec.name = "reference/" + state.spec.name.substr(std::string("model/").size());
    shards.push_back(std::move(state));
  }
  return shards;
}

void ReferencePolicy::score(std::span<Experience> experiences, ExperienceBatcher& batcher) {
  std::vector<const Experience*> batch;
  for (const Experience& experience : experiences) batch.push_back(&experience);
  const std::int64_t count = env_.mesh->host(Axis::world).max(batcher.micro_batches(batch));
  std::vector<std::vector<double>> losses;
  for (const MicroBatch& micro_batch : batcher.build_scoring(batch, count, *env_.compute))
    losses.push_back(
        token_numbers(env_, *model_, micro_batch, [this](ExecContext& ctx) { return model_->token_losses(ctx); }));
  for (std::size_t i = 0; i < experiences.size(); ++i) {
    experiences[i].ref_logprobs = batcher.of_completion(i, losses);
    for (double& number : experiences[i].ref_logprobs) number = -number;
  }
}

}  // namespace athanor
