#include "jobs/sft/fine_tuner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jobs/stop_signal.hpp"
#include "src/base/error.hpp"
#include "src/base/span.hpp"

namespace athanor {
namespace {

/// Rows that hold what the fullest rank has of a batch, looked up in the first ones: fewer would be several small
/// micro-batches, more would compute on padding.
std::int64_t rows_of_share(const JobOptions& options, const ExampleSet& examples, int ranks) {
  constexpr std::int64_t kBatches = 16;
  const std::int64_t batch = options.data.batch_sequences;
  std::int64_t rows = 1;
  for (std::int64_t first = 0; first < kBatches * batch; first += batch) {
    std::vector<std::int64_t> lengths;
    for (std::int64_t i = first; i < first + batch; ++i) lengths.push_back(std::ssize(examples.example(i).tokens) - 1);
    for (const auto& dealt : deal_by_length(lengths, ranks)) {
      std::vector<std::int64_t> share;
      for (const std::size_t i : dealt) share.push_back(lengths[i]);
      rows = std::max(rows, rows_needed(std::move(share), options.data.sequence_length));
    }
  }
  return rows;
}

SequencePacker::Options packing(const JobOptions& options, const ExampleSet& examples, ProcessMesh& mesh) {
  if (options.data.sequence_length > options.model.max_positions)
    throw ConfigError(
        fmt::format("data.sequence_length = {} exceeds model.max_positions = {}; shorten the one or raise the other",
                    options.data.sequence_length, options.model.max_positions));
  std::int64_t rows = options.data.micro_batch_sequences;
  if (rows == 0) rows = rows_of_share(options, examples, mesh.size(Axis::dp));
  // Ranks of tp and cp cut the tokens of a micro-batch evenly.
  while (rows * options.data.sequence_length % (mesh.size(Axis::tp) * mesh.size(Axis::cp)) != 0) ++rows;
  return {.row_tokens = options.data.sequence_length,
          .rows_per_batch = rows,
          .acc = accumulation_dtype(options.run.dtype),
          .tp_size = mesh.size(Axis::tp),
          .cp_rank = mesh.coord(Axis::cp),
          .cp_size = mesh.size(Axis::cp)};
}

}  // namespace

FineTuner::FineTuner(Environment& env, const JobOptions& options, const ExampleSet& examples, std::int64_t total_steps)
    : env_(env),
      examples_(examples),
      options_(options),
      packer_(*env.ops, packing(options, examples, *env.mesh)),
      lr_schedule_(options.optimizer.lr, total_steps),
      trained_(env, options) {
  env.mesh->host(Axis::world).check_same("the conversations of sft.data", examples.fingerprint());
}

void FineTuner::set_teacher(Teacher& teacher, StudentAnswers* answers, double on_policy) {
  teacher_ = &teacher;
  answers_ = answers;
  written_by_student_ =
      answers ? std::llround(on_policy * static_cast<double>(options_.data.batch_sequences)) : std::int64_t{0};
}

void FineTuner::start_from_weights() {
  trained_.step->start();
  steps_done_ = tokens_seen_ = 0;
}

void FineTuner::initialize() {
  trained_.initialize(options_.run.seed, *env_.compute);
  steps_done_ = tokens_seen_ = 0;
}

std::vector<MicroBatch> FineTuner::build(const std::vector<const Example*>& batch) {
  const Span span(SpanKind::data, "micro-batches");
  std::vector<std::int64_t> lengths;
  std::int64_t learned = 0;
  for (const Example* example : batch) {
    lengths.push_back(std::ssize(example->tokens));
    learned += example->num_learned();
  }
  const auto dealt = deal_by_length(lengths, env_.mesh->size(Axis::dp));
  std::vector<const Example*> mine;
  std::vector<TokenSequence> sequences;
  for (const std::size_t i : dealt[static_cast<std::size_t>(env_.mesh->coord(Axis::dp))]) {
    mine.push_back(batch[i]);
    sequences.push_back({batch[i]->tokens});
  }
  packer_.pack(sequences);
  // Ranks that share a pipeline or experts run in step.
  const std::int64_t count = env_.mesh->host(Axis::world).max(std::max<std::int64_t>(1, packer_.num_micro_batches()));
  const double weight = 1.0 / static_cast<double>(std::max<std::int64_t>(1, learned));
  std::vector<MicroBatch> micro_batches;
  for (std::size_t m = 0; std::cmp_less(m, count); ++m) {
    std::vector<double> weights(static_cast<std::size_t>(packer_.tokens_per_batch()), 0.0);
    for (std::size_t i = 0; i < mine.size(); ++i) {
      const auto place = packer_.place_of(i);
      if (place.micro_batch != m) continue;
      for (std::size_t t = 1; t < mine[i]->tokens.size(); ++t)
        if (mine[i]->learned[t]) weights[place.first + t - 1] = weight;
    }
    micro_batches.push_back(packer_.build(m, sequences, *env_.compute));
    micro_batches.back().loss_weights_T = packer_.upload(std::move(weights), *env_.compute);
  }
  return micro_batches;
}

StepResult FineTuner::step() {
  const std::int64_t count = options_.data.batch_sequences, first = steps_done_ * count;
  std::vector<Example> examples;
  for (std::int64_t i = 0; i < count; ++i) examples.push_back(examples_.example(first + i));
  std::vector<const Example*> batch;
  for (const Example& example : examples) batch.push_back(&example);
  std::vector<Example> own_answers;
  if (written_by_student_ > 0) {
    own_answers = answers_->write({batch.begin(), batch.begin() + written_by_student_}, first);
    for (std::size_t i = 0; i < own_answers.size(); ++i) batch[i] = &own_answers[i];
  }
  std::vector<MicroBatch> micro_batches = build(batch);
  if (teacher_)
    for (MicroBatch& micro_batch : micro_batches) teacher_->teach(micro_batch);
  StepPlan plan;
  plan.step = steps_done_ + 1;
  plan.lr = lr_ = lr_schedule_.rate(plan.step, steps_done_);
  const StepResult result = trained_.step->run(plan, micro_batches, StopSignal::asked);
  ++steps_done_;
  for (const Example* example : batch) tokens_seen_ += std::ssize(example->tokens);
  return result;
}

double FineTuner::loss_of(const std::vector<Example>& examples) {
  // As many at a time as a step has, so that a long list needs no more memory.
  const Tensor sum_1 = env_.ops->empty({1}, DType::f64);
  double total = 0.0, learned = 0.0;
  for (std::size_t first = 0; first < examples.size();) {
    std::vector<const Example*> batch;
    double in_batch = 0.0;
    for (; first < examples.size() && std::cmp_less(batch.size(), options_.data.batch_sequences); ++first) {
      batch.push_back(&examples[first]);
      in_batch += static_cast<double>(examples[first].num_learned());
    }
    env_.ops->fill(sum_1, 0.0, *env_.compute);
    for (const MicroBatch& micro_batch : build(batch)) {
      ExecContext ctx{*env_.ops, *env_.compute, *env_.comm, micro_batch, options_.run.dtype, false};
      const Tensor losses_T = trained_.model->token_losses(ctx);
      if (losses_T.defined()) env_.ops->weighted_sum(sum_1, losses_T, micro_batch.loss_weights_T, *env_.compute);
    }
    double sum = 0.0;
    env_.ops->download(std::as_writable_bytes(std::span(&sum, 1)), sum_1, *env_.compute);
    env_.compute->synchronize();
    // The ranks along tp have the same losses.
    total += in_batch * env_.mesh->host(Axis::world).sum(env_.mesh->coord(Axis::tp) == 0 ? sum : 0.0);
    learned += in_batch;
  }
  return learned > 0.0 ? total / learned : 0.0;
}

std::map<std::string, std::string> FineTuner::values() const {
  return {{"sft.examples", fmt::format("{:016x}", examples_.fingerprint())},
          {"optimizer.state", trained_.step->state()}};
}

void FineTuner::restore(std::int64_t steps, std::int64_t tokens, const std::map<std::string, std::string>& values) {
  const auto value = [&](const std::string& name) { return saved_value(values, name, "an sft or distill stage"); };
  if (value("sft.examples") != fmt::format("{:016x}", examples_.fingerprint()))
    throw ConfigError(
        "sft.data: the conversations are not those this run began with; put them back, or start over with "
        "run.start_over");
  trained_.step->after_load();
  trained_.step->restore(value("optimizer.state"));
  steps_done_ = steps;
  tokens_seen_ = tokens;
}

}  // namespace athanor
