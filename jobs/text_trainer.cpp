#include "jobs/text_trainer.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "jobs/stop_signal.hpp"
#include "src/base/error.hpp"
#include "src/base/span.hpp"

namespace athanor {

namespace {

/// Before anything takes memory. @returns the options as they are.
const JobOptions& checked(const JobOptions& options, ProcessMesh& mesh, const Tokenizer& tokenizer) {
  if (tokenizer.vocab_size() > options.model.vocab_size)
    throw ConfigError(fmt::format(
        "model.vocab_size = {} is too small for data.tokenizer, which has {} tokens; set model.vocab_size to "
        "at least that",
        options.model.vocab_size, tokenizer.vocab_size()));
  if (options.data.sequence_length > options.model.max_positions)
    throw ConfigError(
        fmt::format("data.sequence_length = {} exceeds model.max_positions = {}; shorten the one or raise the other",
                    options.data.sequence_length, options.model.max_positions));
  options.optimizer.validate(options.data.batch_sequences);
  if (const std::int64_t ranks = mesh.size(Axis::dp); options.data.batch_sequences < ranks)
    throw ConfigError(fmt::format(
        "data.batch_sequences = {} is less than the {} data-parallel ranks; give each at least one sequence",
        options.data.batch_sequences, ranks));
  if ((mesh.size(Axis::pp) > 1 || mesh.size(Axis::ep) > 1) && options.data.batch_sequences % mesh.size(Axis::dp) != 0)
    throw ConfigError(fmt::format(
        "data.batch_sequences = {} does not divide over parallel.dp = {}; ranks that share a pipeline or experts take "
        "equal parts, so choose a multiple",
        options.data.batch_sequences, mesh.size(Axis::dp)));
  return options;
}

}  // namespace

TextTrainer::TextTrainer(Environment& env, const JobOptions& options, const MixtureDataset& data,
                         const Tokenizer& tokenizer)
    : env_(env),
      data_(data),
      options_(checked(options, *env.mesh, tokenizer)),
      layout_{.sequence_length = options.data.sequence_length,
              .vocab_size = options.model.vocab_size,
              .mtp_depth = options.model.mtp_depth,
              .isolate_documents = options.data.isolate_documents,
              .eos_id = tokenizer.eos_id(),
              .acc = accumulation_dtype(options.run.dtype),
              .cp_rank = env.mesh->coord(Axis::cp),
              .cp_size = env.mesh->size(Axis::cp)},
      ramp_(options.optimizer.batch_ramp, options.data.batch_sequences),
      run_tokens_(tokens_of_run(options.run.steps, ramp_, options.data.sequence_length)),
      lr_schedule_(options.optimizer.lr, run_tokens_),
      trained_(env, options) {}

void TextTrainer::initialize() {
  trained_.store->initialize(options_.run.seed, *env_.compute);
  start_from_weights();
}

void TextTrainer::start_from_weights() {
  trained_.step->start();
  steps_done_ = tokens_seen_ = next_sample_ = 0;
}

std::int64_t TextTrainer::batch_sequences() const { return ramp_.sequences(tokens_seen_); }

void TextTrainer::build_micro_batches(std::int64_t sequences) {
  const Span span(SpanKind::data, "micro-batches");
  const std::int64_t ranks = env_.mesh->size(Axis::dp), rank = env_.mesh->coord(Axis::dp);
  const std::int64_t first = sequences * rank / ranks, last = sequences * (rank + 1) / ranks;
  const std::int64_t most =
      options_.data.micro_batch_sequences > 0 ? options_.data.micro_batch_sequences : last - first;
  const auto count = static_cast<std::size_t>((last - first + most - 1) / most);
  while (builders_.size() < count) builders_.push_back(std::make_unique<MicroBatchBuilder>(*env_.ops, layout_));
  micro_batches_.resize(count);
  std::int64_t targets = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t begin = first + static_cast<std::int64_t>(i) * most;
    data_.samples(next_sample_ + begin, builders_[i]->rows(std::min(most, last - begin)));
    if (layout_.isolate_documents) targets += builders_[i]->count_targets();
  }
  targets = layout_.isolate_documents ? env_.mesh->host(Axis::dp).sum(targets) : sequences * layout_.sequence_length;
  const BatchWeights weights{.per_target = 1.0 / static_cast<double>(std::max<std::int64_t>(targets, 1)),
                             .mtp = phase_value(options_.optimizer.mtp_weight, tokens_seen_, run_tokens_),
                             .per_sequence = 1.0 / static_cast<double>(sequences)};
  for (std::size_t i = 0; i < count; ++i) builders_[i]->build(micro_batches_[i], weights, *env_.compute);
}

StepResult TextTrainer::step() {
  const std::int64_t sequences = batch_sequences();
  build_micro_batches(sequences);
  StepPlan plan;
  plan.step = steps_done_ + 1;
  plan.lr = lr_ = lr_schedule_.rate(plan.step, tokens_seen_);
  plan.bias_speed = phase_value(options_.optimizer.bias_speed, tokens_seen_, run_tokens_);
  const StepResult result = trained_.step->run(plan, micro_batches_, StopSignal::asked);
  ++steps_done_;
  tokens_seen_ += sequences * layout_.sequence_length;
  next_sample_ += sequences;
  return result;
}

std::map<std::string, std::string> TextTrainer::values() const {
  return {{"data.next_sample", std::to_string(next_sample_)},
          {"data.fingerprint", fmt::format("{:016x}", data_.fingerprint())},
          {"optimizer.state", trained_.step->state()}};
}

void TextTrainer::restore(std::int64_t steps, std::int64_t tokens, const std::map<std::string, std::string>& values) {
  const auto value = [&](const std::string& name) { return saved_value(values, name, "a stage that trains on text"); };
  const std::string fingerprint = fmt::format("{:016x}", data_.fingerprint());
  if (const std::string saved = value("data.fingerprint"); saved != fingerprint)
    throw ConfigError("checkpoint: the training data are not those it was trained on (fingerprint " + fingerprint +
                      ", saved " + saved +
                      "): files, weights, seed or data.sequence_length have changed; restore them, or start anew with "
                      "run.start_over");
  trained_.step->after_load();
  trained_.step->restore(value("optimizer.state"));
  next_sample_ = std::stoll(value("data.next_sample"));
  steps_done_ = steps;
  tokens_seen_ = tokens;
}

}  // namespace athanor
