#include "src/model/transformer.hpp"

#include <fmt/format.h>

#include "src/nn/parameter_list.hpp"

namespace athanor {

/// What one micro-batch in flight keeps.
struct Transformer::Slot {
  Slot(std::size_t num_blocks, std::size_t num_mtp) : blocks(num_blocks), mtp(num_mtp) {}

  Embedding::Saved embedding;
  std::vector<Block::Saved> blocks;
  RmsNorm::Saved final_norm;
  TokenCrossEntropy::Saved loss;
  ScalarLoss::Saved scalar_loss;
  std::vector<MtpModule::Saved> mtp;
  std::size_t mtp_run = 0;  ///< modules that ran in the forward
};

/// Counts what is not finite along a forward; read once at the end.
class Transformer::FiniteProbe {
 public:
  FiniteProbe(ExecContext& ctx, std::size_t max_probes)
      : ctx_(ctx), counts_N_(ctx.ops.empty({static_cast<std::int64_t>(max_probes)}, DType::i64)) {
    ctx.ops.fill(counts_N_, 0.0, ctx.compute);
    names_.reserve(max_probes);
  }
  void check(std::string name, const Tensor& x) {
    const auto index = static_cast<std::int64_t>(names_.size());
    names_.push_back(std::move(name));
    ctx_.ops.count_nonfinite(counts_N_.rows(index, index + 1), x, ctx_.compute);
  }
  std::string first_nonfinite() {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(counts_N_.numel()));
    ctx_.ops.download(std::as_writable_bytes(std::span(counts)), counts_N_, ctx_.compute);
    ctx_.compute.synchronize();
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (counts[i] != 0) return names_[i];
    return {};
  }

 private:
  ExecContext& ctx_;
  Tensor counts_N_;
  std::vector<std::string> names_;
};

namespace {

ModelConfig validated(const ModelConfig& config) {
  config.validate();
  return config;
}

std::int64_t rope_dim(const ModelConfig& config) {
  return config.attention == AttentionKind::mla ? config.qk_rope_head_dim : config.head_dim;
}

}  // namespace

Transformer::Transformer(Backend& ops, const ModelConfig& config, DType dtype, Stream& stream)
    : Transformer(ops, config, dtype, stream, whole_model(config), Options{}) {}

Transformer::Transformer(Backend& ops, const ModelConfig& config, DType dtype, Stream& stream, const ModelPart& part,
                         Options options)
    : config_(validated(config)),
      part_(part),
      dtype_(dtype),
      ranks_(options.ranks),
      rope_(ops, config.rope, config.rope_interleaved ? RopeLayout::interleaved : RopeLayout::half, rope_dim(config),
            config.max_positions, accumulation_dtype(dtype), stream),
      discarded_loss_1_(ops.empty({1}, DType::f64)) {
  if (config.fp8 && dtype == DType::f64)
    throw ConfigError("model.fp8 = true: wanted run.dtype bf16 or f32, found f64; FP8 operands are made of those");
  const bool head_needs_embedding = part.has_head && (config.head_is_embedding() || config.mtp_depth > 0);
  if (part.has_embedding || (head_needs_embedding && !options.embedding_of)) {
    own_embedding_.emplace("embedding.weight", dtype, config.vocab_size, config.dim, config.init_std, ranks_);
    embedding_ = &*own_embedding_;
    if (options.embedding_is_shared) embedding_->weight().group = GradientGroup::shared;
  } else if (head_needs_embedding) {
    embedding_ = options.embedding_of->embedding_;
    options.embedding_of->embedding_is_borrowed_ = true;
  }
  if (part.has_head) {
    final_norm_.emplace("final_norm.weight", dtype, config.dim, config.norm_eps);
    if (config.head == HeadKind::scalar) {
      value_head_.emplace(dtype, config.dim, ranks_);
      scalar_loss_.emplace(*value_head_);
    } else {
      if (config.tied_head)
        head_.emplace(embedding_->weight(), ranks_);
      else
        head_.emplace("head.weight", dtype, config.vocab_size, config.dim, config.init_std, ranks_);
      loss_.emplace(*head_);
    }
  }
  const auto parts_of_layer = [&](const std::string& layer) {
    dispatchers_.push_back(options.make_dispatcher ? options.make_dispatcher(layer)
                                                   : std::make_unique<LocalDispatcher>(config.num_routed_experts));
    return BlockParts{ops, stream, dtype, rope_, *dispatchers_.back(), ranks_};
  };
  for (std::int64_t layer = part.layer_begin; layer < part.layer_end; ++layer) {
    const std::string name = "layers." + std::to_string(layer);
    blocks_.push_back(std::make_unique<Block>(name, config_, config_.is_moe_layer(layer), parts_of_layer(name)));
  }
  if (part.has_head)
    for (std::int64_t module = 0; module < config.mtp_depth; ++module) {
      const std::string name = "mtp." + std::to_string(module);
      mtp_.push_back(std::make_unique<MtpModule>(name, config_, parts_of_layer(name + ".block"), *embedding_, *loss_));
    }
  // Alone on tp, whole and cut parameters are reduced over the same ranks: one group has fewer, fuller buckets.
  if (ranks_.tp_size() == 1)
    for (Parameter* parameter : parameters())
      if (parameter->group == GradientGroup::whole) parameter->group = GradientGroup::cut;
  for (auto& block : blocks_) parameters_of_block_.push_back(block->parameters());
  for (auto& module : mtp_) parameters_of_mtp_.push_back(module->parameters());
  parameters_of_head_ = parameters_of(final_norm_, head_, value_head_);
  parameters_of_embedding_ = parameters_of(own_embedding_);
  evaluation_slot_ = std::make_unique<Slot>(blocks_.size(), mtp_.size());

  sums_.loss_1 = ops.empty({1}, DType::f64);
  sums_.mtp_loss_1 = ops.empty({1}, DType::f64);
  sums_.balance_loss_1 = ops.empty({1}, accumulation_dtype(dtype));
  sums_.policy_8 = ops.empty({kNumPolicySums}, DType::f64);
  if (value_head_) sums_.scalar_8 = ops.empty({kNumScalarSums}, DType::f64);
  const auto give_sums = [&](Block& block) {
    if (block.router() == nullptr) return;
    sums_.expert_counts_E.push_back(ops.empty({config_.num_routed_experts}, DType::i64));
    block.router()->set_sums(sums_.balance_loss_1, sums_.expert_counts_E.back());
  };
  for (auto& block : blocks_) give_sums(*block);
  for (auto& module : mtp_) give_sums(module->block());
  zero_sums(sums_, ops, stream);
  ops.fill(discarded_loss_1_, 0.0, stream);
}

Transformer::~Transformer() = default;

Transformer::Slot& Transformer::slot(int micro_batch) {
  const auto index = static_cast<std::size_t>(micro_batch);
  while (slots_.size() <= index) slots_.push_back(std::make_unique<Slot>(blocks_.size(), mtp_.size()));
  return *slots_[index];
}

void Transformer::check_batch(const ExecContext& ctx) const {
  const MicroBatch& batch = ctx.batch;
  if (ctx.dtype != dtype_)
    throw Error(fmt::format("Transformer: the model is {}, the context {}", to_string(dtype_), to_string(ctx.dtype)));
  if (batch.tokens_per_sequence > config_.max_positions)
    throw ConfigError(fmt::format(
        "sequences of {} tokens were given, but model.max_positions = {}; shorten them or raise model.max_positions",
        batch.tokens_per_sequence, config_.max_positions));
  if (batch.num_sequences * batch.tokens_per_sequence != batch.tokens_T.dim(0) * ranks_.cp_size())
    throw Error(fmt::format("Transformer: {} sequences of {} tokens over {} ranks, but tokens are {}",
                            batch.num_sequences, batch.tokens_per_sequence, ranks_.cp_size(),
                            batch.tokens_T.to_string()));
  // None at all: the modules rest.
  if (part_.has_head && batch.mtp.size() != mtp_.size() && !batch.mtp.empty())
    throw Error(fmt::format("Transformer: model.mtp_depth = {}, but the micro-batch has rows for {}", mtp_.size(),
                            batch.mtp.size()));
}

void Transformer::require_input(const char* call, const Tensor& x_TD, bool wanted) const {
  if (x_TD.defined() == wanted) return;
  throw Error(fmt::format("Transformer::{}: layers {} to {} {}, found {}", call, part_.layer_begin, part_.layer_end,
                          wanted ? "take the tensor of their neighbour" : "are at the end of the model",
                          x_TD.defined() ? x_TD.to_string() : "none"));
}

Tensor Transformer::forward_hidden(ExecContext& ctx, const Tensor& x_TD, Slot& slot, FiniteProbe* probe) {
  Tensor h_TD = part_.has_embedding ? embedding_->forward(ctx, ctx.batch.tokens_T, slot.embedding) : x_TD;
  if (probe) probe->check("embedding", h_TD);
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    Block& block = *blocks_[l];
    if (!probe) {
      h_TD = block.forward(ctx, h_TD, slot.blocks[l]);
      continue;
    }
    block.attention(ctx, h_TD, slot.blocks[l]);
    probe->check(block.prefix() + ".attention", slot.blocks[l].h_TD);
    block.dispatch(ctx, slot.blocks[l]);
    block.experts(ctx, slot.blocks[l]);
    h_TD = block.combine(ctx, slot.blocks[l]);
    probe->check(block.prefix() + (block.router() ? ".moe" : ".ffn"), h_TD);
  }
  if (!part_.has_head) return h_TD;
  h_TD = final_norm_->forward(ctx, h_TD, slot.final_norm);
  if (probe) probe->check("final_norm", h_TD);
  return h_TD;
}

Tensor Transformer::forward(ExecContext& ctx, int micro_batch, const Tensor& x_TD) {
  require_input("forward", x_TD, !part_.has_embedding);
  check_batch(ctx);
  Slot& saved = slot(micro_batch);
  const MicroBatch& batch = ctx.batch;
  Tensor h_TD = forward_hidden(ctx, x_TD, saved, nullptr);
  if (!part_.has_head) return h_TD;
  if (scalar_loss_) {
    scalar_loss_->forward(ctx, h_TD, sums_.scalar_8, saved.scalar_loss);
    return {};
  }
  if (batch.policy)
    loss_->forward_policy(ctx, h_TD, sums_.policy_8, saved.loss);
  else if (batch.teacher)
    loss_->forward_distillation(ctx, h_TD, sums_.loss_1, saved.loss);
  else
    loss_->forward(ctx, h_TD, batch.targets_T, batch.loss_weights_T, sums_.loss_1, saved.loss);
  saved.mtp_run = batch.mtp.size();
  for (std::size_t k = 0; k < batch.mtp.size(); ++k)
    h_TD = mtp_[k]->forward(ctx, h_TD, batch.mtp[k], sums_.mtp_loss_1, saved.mtp[k]);
  return {};
}

void Transformer::tell_ready(ExecContext& ctx, const std::vector<Parameter*>& parameters) {
  if (!ctx.gradients) return;
  for (Parameter* parameter : parameters) ctx.gradients->gradient_ready(*parameter);
}

Tensor Transformer::backward_input(ExecContext& ctx, int micro_batch, const Tensor& dy_TD) {
  require_input("backward_input", dy_TD, !part_.has_head);
  return backward_through(ctx, slot(micro_batch), dy_TD, Pass::input);
}

void Transformer::backward_weight(ExecContext& ctx, int micro_batch) {
  backward_through(ctx, slot(micro_batch), Tensor{}, Pass::weight);
}

Tensor Transformer::backward(ExecContext& ctx, int micro_batch, Tensor dy_TD) {
  require_input("backward", dy_TD, !part_.has_head);
  ExecContext both = ctx;
  both.weights_at_once = true;
  return backward_through(both, slot(micro_batch), std::move(dy_TD), Pass::both);
}

Tensor Transformer::head_gradient(Slot& saved) {
  return scalar_loss_ ? scalar_loss_->backward_input(saved.scalar_loss) : loss_->backward_input(saved.loss);
}

Tensor Transformer::backward_through(ExecContext& ctx, Slot& saved, Tensor dy_TD, Pass pass) {
  const bool input = pass != Pass::weight, weight = pass != Pass::input;
  Tensor dh_TD = std::move(dy_TD);
  // From the last MTP module to the first: each passes to the state it fed on, whose own loss adds its part.
  for (std::size_t k = mtp_.size(); k-- > 0;) {
    const bool ran = k < saved.mtp_run;
    if (ran && input) {
      if (!dh_TD.defined()) dh_TD = loss_->backward_input(saved.mtp[k].loss);
      const Tensor dloss_TD = loss_->backward_input(k > 0 ? saved.mtp[k - 1].loss : saved.loss);
      dh_TD = mtp_[k]->backward_input(ctx, dh_TD, dloss_TD, saved.mtp[k]);
    }
    if (ran && weight) mtp_[k]->backward_weight(ctx, saved.mtp[k]);
    if (weight) tell_ready(ctx, parameters_of_mtp_[k]);
  }
  if (part_.has_head) {
    if (input) {
      if (!dh_TD.defined()) dh_TD = head_gradient(saved);
      dh_TD = final_norm_->backward_input(ctx, dh_TD, saved.final_norm);
    }
    if (weight) {
      final_norm_->backward_weight(ctx, saved.final_norm);
      tell_ready(ctx, parameters_of_head_);  // the head's gradient grew in the forward
    }
  }
  for (std::size_t l = blocks_.size(); l-- > 0;) {
    if (input) dh_TD = blocks_[l]->backward_input(ctx, dh_TD, saved.blocks[l]);
    if (weight) {
      blocks_[l]->backward_weight(ctx, saved.blocks[l]);
      tell_ready(ctx, parameters_of_block_[l]);
    }
  }
  if (part_.has_embedding && input) dh_TD = embedding_->backward_input(ctx, dh_TD, saved.embedding);
  if (part_.has_embedding && weight) embedding_->backward_weight(ctx, saved.embedding);
  if (weight && !embedding_is_borrowed_) tell_ready(ctx, parameters_of_embedding_);
  return dh_TD;
}

Tensor Transformer::evaluate_hidden(ExecContext& ctx, const Tensor& x_TD) {
  if (ctx.training) throw Error("Transformer: evaluation was called with a training context");
  require_input("evaluate", x_TD, !part_.has_embedding);
  check_batch(ctx);
  return forward_hidden(ctx, x_TD, *evaluation_slot_, nullptr);
}

Tensor Transformer::evaluate(ExecContext& ctx, const Tensor& x_TD) {
  const Tensor h_TD = evaluate_hidden(ctx, x_TD);
  if (!part_.has_head) return h_TD;
  if (value_head_) {
    ValueHead::Saved nothing;
    return value_head_->forward(ctx, h_TD, nothing).reshaped({ctx.batch.tokens_T.dim(0)});
  }
  return loss_->forward(ctx, h_TD, ctx.batch.targets_T, ctx.batch.loss_weights_T, discarded_loss_1_,
                        evaluation_slot_->loss);
}

void Transformer::require_head(const char* call, HeadKind wanted) const {
  if (config_.head == wanted) return;
  throw Error(fmt::format("Transformer::{}: wanted a model with model.head = {}, found {}", call,
                          wanted == HeadKind::tokens ? "tokens" : "scalar",
                          config_.head == HeadKind::tokens ? "tokens" : "scalar"));
}

Tensor Transformer::token_losses(ExecContext& ctx) {
  require_head("token_losses", HeadKind::tokens);
  return evaluate(ctx, Tensor{});
}

Tensor Transformer::values(ExecContext& ctx) {
  require_head("values", HeadKind::scalar);
  return evaluate(ctx, Tensor{});
}

Tensor Transformer::logits(ExecContext& ctx) {
  require_head("logits", HeadKind::tokens);
  return head_->logits(ctx, evaluate_hidden(ctx, Tensor{}));
}

Tensor Transformer::decode(ExecContext& caller, const DecodeRows& given, KvCache& cache, const Tensor& x_RD) {
  if (caller.training) throw Error("Transformer::decode: wanted a context with training = false");
  require_head("decode", HeadKind::tokens);
  ExecContext ctx = caller;
  ctx.decoding = true;
  Slot& scratch = *evaluation_slot_;
  require_input("decode", x_RD, !part_.has_embedding);
  DecodeRows rows = given;
  rows.cache_rows_R = ctx.ops.empty(rows.positions_R.shape(), DType::i32);
  ctx.ops.cache_rows(rows.cache_rows_R, rows.pages_SP, rows.slots_R, rows.positions_R, rows.lengths_R,
                     cache.page_rows(), ctx.compute);
  Tensor h_RD = part_.has_embedding ? embedding_->forward(ctx, rows.tokens_R, scratch.embedding) : x_RD;
  for (std::size_t l = 0; l < blocks_.size(); ++l)
    h_RD = blocks_[l]->decode(ctx, h_RD, rows, cache.layer(static_cast<std::int64_t>(l)), scratch.blocks[l]);
  if (!part_.has_head) return h_RD;
  if (rows.logit_rows_N.defined()) {
    const Tensor wanted_ND = ctx.empty({rows.logit_rows_N.dim(0), h_RD.dim(1)});
    ctx.ops.gather_rows(wanted_ND, h_RD, rows.logit_rows_N, ctx.compute);
    h_RD = wanted_ND;
  }
  return head_->whole_logits(ctx, final_norm_->forward(ctx, h_RD, scratch.final_norm));
}

std::string Transformer::first_nonfinite_layer(ExecContext& ctx) {
  check_batch(ctx);
  ExecContext look{ctx.ops, ctx.compute, ctx.comm, ctx.batch, ctx.dtype, false};
  FiniteProbe probe(look, 3 + 2 * blocks_.size() + mtp_.size());
  Tensor h_TD = forward_hidden(look, Tensor{}, *evaluation_slot_, &probe);
  if (value_head_) {
    ValueHead::Saved nothing;
    probe.check("value_head", value_head_->forward(look, h_TD, nothing));
    return probe.first_nonfinite();
  }
  probe.check("head", loss_->forward(look, h_TD, look.batch.targets_T, look.batch.loss_weights_T, discarded_loss_1_,
                                     evaluation_slot_->loss));
  for (std::size_t k = 0; k < look.batch.mtp.size(); ++k) {
    h_TD = mtp_[k]->forward(look, h_TD, look.batch.mtp[k], discarded_loss_1_, evaluation_slot_->mtp[k]);
    probe.check("mtp." + std::to_string(k), h_TD);
  }
  return probe.first_nonfinite();
}

std::string Transformer::first_nonfinite_parameter(ExecContext& ctx) {
  const std::vector<Parameter*> all = parameters();
  FiniteProbe probe(ctx, 2 * all.size());
  for (const Parameter* parameter : all) {
    probe.check(parameter->name(), parameter->weight);
    if (parameter->grad.defined()) probe.check("gradient of " + parameter->name(), parameter->grad);
  }
  return probe.first_nonfinite();
}

std::vector<Parameter*> Transformer::parameters() {
  std::vector<Parameter*> list = parameters_of(own_embedding_);
  for (auto& block : blocks_) append_parameters(list, *block);
  append_parameters(list, final_norm_);
  append_parameters(list, head_);
  append_parameters(list, value_head_);
  for (auto& module : mtp_) append_parameters(list, *module);
  return list;
}

std::vector<StateTensor*> Transformer::states() {
  std::vector<StateTensor*> list;
  for (auto& block : blocks_)
    if (block->router()) list.push_back(&block->router()->bias());
  for (auto& module : mtp_)
    if (module->block().router()) list.push_back(&module->block().router()->bias());
  return list;
}

std::vector<std::string> Transformer::expert_layers() const {
  std::vector<std::string> list;
  for (const auto& block : blocks_)
    if (block->router()) list.push_back(block->prefix());
  for (const auto& module : mtp_)
    if (module->block().router()) list.push_back(module->block().prefix());
  return list;
}

}  // namespace athanor
