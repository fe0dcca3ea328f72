#include "jobs/rl/critic.hpp"

#include "jobs/rl/token_numbers.hpp"
#include "jobs/scalar_weights.hpp"

namespace athanor {
namespace {

JobOptions options_of_critic(JobOptions options) {
  options.model = with_scalar_head(options.model);
  options.optimizer.lr.peak = options.rl.critic_lr;
  return options;
}

}  // namespace

Critic::Critic(Environment& env, const JobOptions& options)
    : env_(env),
      seed_(options.run.seed),
      lr_schedule_(options_of_critic(options).optimizer.lr, options.run.steps),
      trained_(env, options_of_critic(options)) {}

void Critic::load(const std::filesystem::path& checkpoint, HostGroup& world) {
  trained_.initialize(seed_, *env_.compute);  // of which the head stays, where the checkpoint has none
  const auto shards = trained_.weight_shards();
  (void)load_scalar_weights(checkpoint, world, shards, *env_.ops, *env_.compute);
}

std::vector<NamedShard> Critic::shards() const {
  std::vector<NamedShard> shards = trained_.shards();
  for (NamedShard& shard : shards) shard.spec.name = "critic/" + shard.spec.name;
  return shards;
}

void Critic::restore(const std::string& state) {
  trained_.step->after_load();
  trained_.step->restore(state);
}

void Critic::score(std::span<Experience> experiences, ExperienceBatcher& batcher) {
  std::vector<const Experience*> batch;
  for (const Experience& experience : experiences) batch.push_back(&experience);
  const std::int64_t count = env_.mesh->host(Axis::world).max(batcher.micro_batches(batch));
  std::vector<std::vector<double>> values;
  for (const MicroBatch& micro_batch : batcher.build_scoring(batch, count, *env_.compute))
    values.push_back(token_numbers(env_, *trained_.model, micro_batch,
                                   [this](ExecContext& ctx) { return trained_.model->values(ctx); }));
  for (std::size_t i = 0; i < experiences.size(); ++i) experiences[i].values = batcher.of_completion(i, values);
}

StepResult Critic::update(const std::vector<MicroBatch>& micro_batches, std::int64_t step) {
  StepPlan plan;
  plan.step = step;
  plan.lr = lr_schedule_.rate(step, step - 1);
  return trained_.step->run(plan, micro_batches);
}

}  // namespace athanor
