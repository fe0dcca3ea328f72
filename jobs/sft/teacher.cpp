#include "jobs/sft/teacher.hpp"

#include <fmt/format.h>

#include "io/checkpoint/load_checkpoint.hpp"
#include "jobs/loaded_model.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/data/zero_optimizer.hpp"
#include "src/base/error.hpp"

namespace athanor {

Teacher::Teacher(Environment& env, const std::filesystem::path& checkpoint, const JobOptions& student, HostGroup& world)
    : env_(env), options_(options_of_checkpoint(checkpoint)), distill_(student.distill) {
  if (options_.model.vocab_size != student.model.vocab_size)
    throw ConfigError(
        fmt::format("distill.teacher: it has {} tokens, the student {} (model.vocab_size); they must agree",
                    options_.model.vocab_size, student.model.vocab_size));
  options_.run = student.run;
  options_.parallel = student.parallel;
  options_.parallel.layer_split.clear();  // of another number of layers
  model_ = make_model(*env.ops, options_, *env.mesh, *env.compute);
  store_ = std::make_unique<ParameterStore>(*env.ops, model_->parameters(),
                                            ParameterStore::Options{.with_gradients = false}, *env.compute);
  auto shards = weight_shards(*store_);
  for (NamedShard& state : state_shards(model_->states(), false)) shards.push_back(std::move(state));
  load_checkpoint(checkpoint, world, shards, *env.ops, *env.compute, {.convert_floats = true});
  logits_ = [this](ExecContext& ctx, const Tensor& h_TD) { return model_->last()->logits_of(ctx, h_TD); };
}

void Teacher::teach(MicroBatch& micro_batch) {
  ExecContext ctx{*env_.ops, *env_.compute, *env_.comm, micro_batch, options_.run.dtype, false};
  micro_batch.teacher = MicroBatch::TeacherRows{.hidden_TD = model_->hidden(ctx),
                                                .logits = &logits_,
                                                .reverse = distill_.reverse,
                                                .temperature = distill_.temperature,
                                                .hard_weight = distill_.hard_weight};
}

}  // namespace athanor
