#include "jobs/rl/reference_policy.hpp"

#include <algorithm>

#include "jobs/trained_model.hpp"
#include "parallel/data/owned_slices.hpp"

namespace athanor {

ReferencePolicy::ReferencePolicy(Environment& env, const JobOptions& options)
    : env_(env),
      dtype_(options.run.dtype),
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

std::vector<double> ReferencePolicy::token_logprobs(const MicroBatch& micro_batch) {
  ExecContext ctx{*env_.ops, *env_.compute, *env_.comm, micro_batch, dtype_, false};
  Tensor losses_T = model_->token_losses(ctx);
  if (env_.mesh->size(Axis::pp) > 1) {  // from the rank with the head to all
    if (!losses_T.defined()) losses_T = ctx.empty_acc({micro_batch.tokens_T.dim(0)});
    env_.mesh->along(Axis::pp).broadcast(losses_T, model_->head_rank(), *env_.compute);
  }
  const auto download = [&](auto type) {
    std::vector<decltype(type)> losses(static_cast<std::size_t>(losses_T.numel()));
    env_.ops->download(std::as_writable_bytes(std::span(losses)), losses_T, *env_.compute);
    env_.compute->synchronize();
    std::vector<double> logprobs;
    for (const auto loss : losses) logprobs.push_back(-static_cast<double>(loss));
    return logprobs;
  };
  return losses_T.dtype() == DType::f64 ? download(double{}) : download(float{});
}

void ReferencePolicy::score(std::span<Experience> experiences, ExperienceBatcher& batcher) {
  std::vector<const Experience*> batch;
  for (const Experience& experience : experiences) batch.push_back(&experience);
  const std::int64_t count = env_.mesh->host(Axis::world).max(batcher.micro_batches(batch));
  std::vector<std::vector<double>> logprobs;
  for (const MicroBatch& micro_batch : batcher.build_scoring(batch, count, *env_.compute))
    logprobs.push_back(token_logprobs(micro_batch));
  for (std::size_t i = 0; i < experiences.size(); ++i) {
    const auto place = batcher.place_of(i);
    const auto first = logprobs[place.micro_batch].begin() + static_cast<std::ptrdiff_t>(place.first);
    experiences[i].ref_logprobs.assign(first, first + std::ssize(experiences[i].completion));
  }
}

}  // namespace athanor
