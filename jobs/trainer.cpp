#include "jobs/trainer.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "parallel/data/owned_slices.hpp"
#include "src/base/error.hpp"

namespace athanor {

SchedulePlan schedule_of(const ParallelOptions& options) {
  return schedule_plan(options.schedule, static_cast<int>(options.virtual_chunks), options.schedule_file);
}

std::unique_ptr<MeshModel> make_model(Backend& ops, const JobOptions& options, ProcessMesh& mesh, Stream& stream,
                                      std::map<std::string, ExpertPlacement> placements) {
  auto model = std::make_unique<MeshModel>(
      ops, mesh,
      MeshModelOptions{.config = options.model,
                       .dtype = options.run.dtype,
                       .chunk_rank = schedule_of(options.parallel).chunk_rank(mesh.size(Axis::pp)),
                       .layer_split = parse_layer_split(options.parallel.layer_split),
                       .placements = std::move(placements),
                       .ranks_per_node = options.parallel.ranks_per_node},
      stream);
  if (!model->warning().empty() && mesh.coord(Axis::world) == 0) spdlog::warn("{}", model->warning());
  return model;
}

Trainer::Trainer(Backend& ops, ProcessMesh& mesh, const JobOptions& options, const MixtureDataset& data,
                 std::int32_t eos_id, std::int64_t tokenizer_vocab_size, Stream& compute, Stream& comm)
    : ops_(ops),
      mesh_(mesh),
      data_(data),
      options_(options),
      compute_(compute),
      comm_(comm),
      layout_{.sequence_length = options.data.sequence_length,
              .vocab_size = options.model.vocab_size,
              .mtp_depth = options.model.mtp_depth,
              .isolate_documents = options.data.isolate_documents,
              .eos_id = eos_id,
              .acc = accumulation_dtype(options.run.dtype),
              .cp_rank = mesh.coord(Axis::cp),
              .cp_size = mesh.size(Axis::cp)},
      ramp_(options.optimizer.batch_ramp, options.data.batch_sequences),
      run_tokens_(tokens_of_run(options.run.steps, ramp_, options.data.sequence_length)),
      lr_schedule_(options.optimizer.lr, run_tokens_) {
  if (tokenizer_vocab_size > options.model.vocab_size)
    throw ConfigError(fmt::format(
        "model.vocab_size = {} is too small for data.tokenizer, which has {} tokens; set model.vocab_size to "
        "at least that",
        options.model.vocab_size, tokenizer_vocab_size));
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
  model_ = make_model(ops, options, mesh, compute);
  ParameterStore::Options store_options;
  store_options.pad_elements = ReductionRanks(mesh).bucket_pad();
  store_ = std::make_unique<ParameterStore>(ops, model_->parameters(), store_options, compute);
  train_step_ =
      std::make_unique<TrainStep>(ops, model_->chunks(), *store_, mesh, options.optimizer, options.run.dtype, compute,
                                  comm, schedule_of(options.parallel), options.model.dim, options.parallel.recompute);
  train_step_->set_diagnose([this](ExecContext& ctx) { return model_->first_nonfinite(ctx); });
}

void Trainer::initialize() {
  store_->initialize(options_.run.seed, compute_);
  start_from_weights();
}

void Trainer::start_from_weights() {
  train_step_->start();
  steps_done_ = tokens_seen_ = next_sample_ = 0;
}

std::vector<NamedShard> Trainer::weight_shards() const {
  auto shards = athanor::weight_shards(*store_);
  for (NamedShard& state : state_shards(model_->states(), false)) shards.push_back(std::move(state));
  return shards;
}

std::int64_t Trainer::batch_sequences() const { return ramp_.sequences(tokens_seen_); }

void Trainer::build_micro_batches(std::int64_t sequences) {
  const std::int64_t ranks = mesh_.size(Axis::dp), rank = mesh_.coord(Axis::dp);
  const std::int64_t first = sequences * rank / ranks, last = sequences * (rank + 1) / ranks;
  const std::int64_t most =
      options_.data.micro_batch_sequences > 0 ? options_.data.micro_batch_sequences : last - first;
  const auto count = static_cast<std::size_t>((last - first + most - 1) / most);
  while (builders_.size() < count) builders_.push_back(std::make_unique<MicroBatchBuilder>(ops_, layout_));
  micro_batches_.resize(count);
  std::int64_t targets = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t begin = first + static_cast<std::int64_t>(i) * most;
    data_.samples(next_sample_ + begin, builders_[i]->rows(std::min(most, last - begin)));
    if (layout_.isolate_documents) targets += builders_[i]->count_targets();
  }
  targets = layout_.isolate_documents ? mesh_.host(Axis::dp).sum(targets) : sequences * layout_.sequence_length;
  const BatchWeights weights{.per_target = 1.0 / static_cast<double>(std::max<std::int64_t>(targets, 1)),
                             .mtp = phase_value(options_.optimizer.mtp_weight, tokens_seen_, run_tokens_),
                             .per_sequence = 1.0 / static_cast<double>(sequences)};
  for (std::size_t i = 0; i < count; ++i) builders_[i]->build(micro_batches_[i], weights, compute_);
}

StepResult Trainer::step() {
  const std::int64_t sequences = batch_sequences();
  build_micro_batches(sequences);
  StepPlan plan;
  plan.step = steps_done_ + 1;
  plan.lr = lr_ = lr_schedule_.rate(plan.step, tokens_seen_);
  plan.bias_speed = phase_value(options_.optimizer.bias_speed, tokens_seen_, run_tokens_);
  const StepResult result = train_step_->run(plan, micro_batches_);
  ++steps_done_;
  tokens_seen_ += sequences * layout_.sequence_length;
  next_sample_ += sequences;
  return result;
}

std::map<std::string, std::string> Trainer::values() const {
  return {{"data.next_sample", std::to_string(next_sample_)},
          {"data.fingerprint", fmt::format("{:016x}", data_.fingerprint())},
          {"optimizer.state", train_step_->state()}};
}

void Trainer::restore(std::int64_t steps, std::int64_t tokens, const std::map<std::string, std::string>& values) {
  const auto value = [&](const std::string& name) {
    const auto found = values.find(name);
    if (found == values.end())
      throw DataError("checkpoint: its run state has no '" + name + "'; it is not one of a training stage");
    return found->second;
  };
  const std::string fingerprint = fmt::format("{:016x}", data_.fingerprint());
  if (const std::string saved = value("data.fingerprint"); saved != fingerprint)
    throw ConfigError("checkpoint: the training data are not those it was trained on (fingerprint " + fingerprint +
                      ", saved " + saved +
                      "): files, weights, seed or data.sequence_length have changed; restore them, or start anew with "
                      "run.start_over");
  train_step_->after_load();
  train_step_->restore(value("optimizer.state"));
  next_sample_ = std::stoll(value("data.next_sample"));
  steps_done_ = steps;
  tokens_seen_ = tokens;
}

}  // namespace athanor
