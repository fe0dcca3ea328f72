#include "parallel/train_step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <sstream>

#include "parallel/agreement.hpp"
#include "src/backend/stream_span.hpp"
#include "src/base/error.hpp"

namespace athanor {

TrainStep::TrainStep(Backend& ops, std::vector<ModelChunk*> chunks, ParameterStore& store, ProcessMesh& mesh,
                     const OptimizerOptions& options, DType dtype, Stream& compute, Stream& comm,
                     const SchedulePlan& schedule, std::int64_t model_dim, Recompute recompute)
    : ops_(ops),
      chunks_(std::move(chunks)),
      store_(store),
      mesh_(mesh),
      options_(options),
      dtype_(dtype),
      compute_(compute),
      comm_(comm),
      slices_(owned_slices(store, ReductionRanks(mesh))),
      reducer_(ops, store, slices_),
      optimizer_(ops, store, slices_, options.adamw, compute),
      guard_(options.spike_guard),
      schedule_(schedule),
      model_dim_(model_dim),
      recompute_(recompute),
      squared_norm_1_(ops.empty({1}, DType::f64)),
      numbers_(kNumNumbers) {
  std::copy_if(chunks_.begin(), chunks_.end(), std::back_inserter(own_chunks_), [](auto* chunk) { return chunk; });
  for (ModelChunk* chunk : own_chunks_) {
    const auto biases = chunk->states();
    const auto& counts = chunk->sums().expert_counts_E;
    if (biases.size() != counts.size())
      throw Error(
          fmt::format("TrainStep: {} router biases for {} layers with expert counts; ModelChunk::states() and "
                      "StepSums::expert_counts_E go in pairs",
                      biases.size(), counts.size()));
    biases_.insert(biases_.end(), biases.begin(), biases.end());
    counts_E_.insert(counts_E_.end(), counts.begin(), counts.end());
  }
  if (!counts_E_.empty()) num_experts_ = static_cast<std::size_t>(counts_E_.front().numel());
  for (std::size_t layer = 0; layer < counts_E_.size(); ++layer)
    if (counts_E_[layer].numel() != static_cast<std::int64_t>(num_experts_) ||
        biases_[layer]->tensor.numel() != counts_E_[layer].numel())
      throw Error("TrainStep: " + biases_[layer]->spec.name + " is " + biases_[layer]->tensor.to_string() +
                  ", its expert counts are " + counts_E_[layer].to_string());
  integers_.resize(1 + counts_E_.size() * num_experts_);
}

void TrainStep::start() {
  optimizer_.start(compute_);
  guard_ = LossSpikeGuard(options_.spike_guard);
  num_updates_ = 0;
}

// ---- the step

StepResult TrainStep::run(const StepPlan& plan, std::span<const MicroBatch> micro_batches,
                          const std::function<bool()>& give_up) {
  const CollectiveLog::Step record(mesh_.host(Axis::world).log(), plan.step);
  const Span span(SpanKind::step, "train step", {}, {{"step", plan.step}});
  std::int64_t own_tokens = 0;
  for (const MicroBatch& batch : micro_batches) own_tokens += batch.num_sequences * batch.tokens_per_sequence;

  run_micro_batches(micro_batches, give_up);
  reducer_.finish(compute_, comm_);
  {
    const StreamSpan norm(&compute_, SpanKind::optimizer, "gradient norm");
    ops_.fill(squared_norm_1_, 0.0, compute_);
    add_squared_norm(ops_, store_, slices_, squared_norm_1_, compute_);
  }
  read_sums(plan.step, own_tokens);
  mesh_.require_healthy();

  std::array<double, kNumNumbers> own{};
  std::copy(numbers_.begin(), numbers_.end(), own.begin());
  const double largest_gap = mesh_.host(Axis::world).max(numbers_[std::size_t{kPolicy} + kPolicyLargestGap]);
  mesh_.host(Axis::world).sum(std::span(numbers_));
  mesh_.host(Axis::layer).sum(std::span(integers_));
  // A sum over ranks is finite only where every part is, so all ranks see it alike.
  if (!std::all_of(numbers_.begin(), numbers_.end(), [](double x) { return std::isfinite(x); }))
    report_nonfinite(plan.step, micro_batches, own);

  StepResult result;
  result.loss = result.token_loss = numbers_[kLoss];
  result.mtp_loss = numbers_[kMtpLoss];
  result.balance_loss = numbers_[kBalanceLoss];
  std::copy_n(numbers_.begin() + kPolicy, kNumPolicySums, result.policy.begin());
  result.policy[kPolicyLargestGap] = largest_gap;
  std::copy_n(numbers_.begin() + kScalar, kNumScalarSums, result.scalar.begin());
  result.loss += result.scalar[0];  // a scalar head has no other
  if (result.policy[kPolicyTokens] > 0.0) result.loss = result.policy[kPolicyLoss];
  result.grad_norm = std::sqrt(numbers_[kSquaredNorm]);
  result.tokens = integers_[0];
  result.expert_load_max_over_mean = worst_expert_load();
  result.skipped = guard_.should_skip(result.loss, result.grad_norm);
  const double clip = options_.adamw.clip_norm;
  result.clipped = clip > 0.0 && result.grad_norm > clip;
  if (result.skipped) return result;

  const StreamSpan update(&compute_, SpanKind::optimizer, "update");
  optimizer_.step(plan.lr, ++num_updates_, result.clipped ? clip / result.grad_norm : 1.0, compute_, comm_);
  if (plan.bias_speed != 0.0) update_router_biases(plan.bias_speed);
  return result;
}

PipelineRunner& TrainStep::runner_for(std::size_t num_micro_batches) {
  const auto found = runners_.find(num_micro_batches);
  if (found != runners_.end()) return found->second;
  const auto shape = [this](const MicroBatch& batch) {
    return Shape{batch.tokens_T.dim(0) / mesh_.size(Axis::tp), model_dim_};
  };
  return runners_
      .try_emplace(num_micro_batches, schedule_.make(mesh_.size(Axis::pp), static_cast<int>(num_micro_batches)),
                   mesh_.along(Axis::pp), shape)
      .first->second;
}

void TrainStep::run_micro_batches(std::span<const MicroBatch> micro_batches, const std::function<bool()>& give_up) {
  {
    const StreamSpan span(&compute_, SpanKind::optimizer, "zero gradients");
    store_.zero_gradients(compute_);
    for (ModelChunk* chunk : own_chunks_) zero_sums(chunk->sums(), ops_, compute_);
  }
  const std::uint64_t epoch = new_weights_epoch();
  const auto context_of = [this, epoch](const MicroBatch& batch, bool completes_gradients) {
    ExecContext ctx{ops_, compute_, comm_, batch, dtype_, true};
    ctx.weights_epoch = epoch;
    ctx.recompute = recompute_;
    if (completes_gradients) ctx.gradients = &reduce_when_ready_;
    return ctx;
  };
  PipelineRunner& runner = runner_for(micro_batches.size());
  // The ranks of a layer reduce together: they agree before each micro-batch. Where they have different numbers of
  // them, their programs differ too, and waiting for each other might never end: then the step is ended.
  HostGroup& layer = mesh_.host(Axis::layer);
  const std::int64_t count = std::ssize(micro_batches);
  if (!give_up || layer.any(count != layer.max(count))) {
    runner.run(context_of, chunks_, micro_batches);
    return;
  }
  const auto agreed = [&] { return layer.any(give_up()); };
  // Other stages of the pipeline may hear of it later, or at the end: nothing of such a step is of use to anyone.
  const bool gave_up = !runner.run(context_of, chunks_, micro_batches, std::ref(agreed));
  if (mesh_.size(Axis::pp) > 1 ? mesh_.host(Axis::world).any(gave_up) : gave_up) {
    compute_.synchronize();
    throw Interrupted("asked to stop: the step begun is given up, and done again when the run goes on");
  }
}

void TrainStep::read_sums(std::int64_t step, std::int64_t own_tokens) {
  const Span span(SpanKind::optimizer, "wait for the sums of the step");
  // Accumulated in f64 but for the balance loss, which is in the accumulation type.
  struct Read {
    double loss = 0.0, mtp_loss = 0.0, balance_loss = 0.0;
    float balance_loss_f32 = 0.0F;
    std::array<double, kNumPolicySums> policy{};
    std::array<double, kNumScalarSums> scalar{};
  };
  static constexpr std::size_t kMaxChunks = 64;
  std::array<Read, kMaxChunks> reads{};
  if (own_chunks_.size() > kMaxChunks) throw Error(fmt::format("TrainStep: {} chunks on a rank", own_chunks_.size()));
  const auto read = [&](auto& number, const Tensor& tensor) {
    ops_.download(std::as_writable_bytes(std::span(&number, 1)), tensor, compute_);
  };
  for (std::size_t c = 0; c < own_chunks_.size(); ++c) {
    const StepSums& sums = own_chunks_[c]->sums();
    read(reads[c].loss, sums.loss_1);
    read(reads[c].mtp_loss, sums.mtp_loss_1);
    if (sums.policy_8.defined())
      ops_.download(std::as_writable_bytes(std::span(reads[c].policy)), sums.policy_8, compute_);
    if (sums.scalar_8.defined())
      ops_.download(std::as_writable_bytes(std::span(reads[c].scalar)), sums.scalar_8, compute_);
    if (sums.balance_loss_1.dtype() == DType::f32)
      read(reads[c].balance_loss_f32, sums.balance_loss_1);
    else
      read(reads[c].balance_loss, sums.balance_loss_1);
  }
  double squared_norm = 0.0;
  read(squared_norm, squared_norm_1_);
  // The ranks along tp see the same tokens, those along cp parts of them.
  integers_[0] = mesh_.coord(Axis::tp) == 0 && mesh_.coord(Axis::cp) == 0 ? own_tokens : 0;
  for (std::size_t layer = 0; layer < counts_E_.size(); ++layer)
    ops_.download(std::as_writable_bytes(layer_counts(layer)), counts_E_[layer], compute_);
  compute_.synchronize();
  std::fill(numbers_.begin(), numbers_.end(), 0.0);
  numbers_[kSquaredNorm] = squared_norm;
  for (std::size_t c = 0; c < own_chunks_.size() && mesh_.coord(Axis::tp) == 0; ++c) {
    numbers_[kLoss] += reads[c].loss;
    numbers_[kMtpLoss] += reads[c].mtp_loss;
    for (std::size_t i = 0; i < kNumPolicySums; ++i) numbers_[kPolicy + i] += reads[c].policy[i];
    for (std::size_t i = 0; i < kNumScalarSums; ++i) numbers_[kScalar + i] += reads[c].scalar[i];
    if (mesh_.coord(Axis::cp) == 0)
      numbers_[kBalanceLoss] += reads[c].balance_loss + static_cast<double>(reads[c].balance_loss_f32);
  }
  CollectiveLog* const log = mesh_.host(Axis::world).log();
  if (log != nullptr && log->spoils_loss(step)) numbers_[kLoss] = std::numeric_limits<double>::quiet_NaN();
}

double TrainStep::worst_expert_load() {
  double worst = 0.0;
  for (std::size_t first = 1; first < integers_.size(); first += num_experts_) {
    std::int64_t largest = 0, total = 0;
    for (std::size_t i = first; i < first + num_experts_; ++i) {
      largest = std::max(largest, integers_[i]);
      total += integers_[i];
    }
    if (total > 0)
      worst = std::max(worst,
                       static_cast<double>(largest) * static_cast<double>(num_experts_) / static_cast<double>(total));
  }
  return mesh_.host(Axis::pp).max(worst);
}

void TrainStep::update_router_biases(double speed) {
  for (std::size_t layer = 0; layer < counts_E_.size(); ++layer) {
    ops_.upload(counts_E_[layer], std::as_bytes(layer_counts(layer)), compute_);
    ops_.router_bias_update(biases_[layer]->tensor, counts_E_[layer], speed, compute_);
  }
}

// ---- what is not a number

bool TrainStep::own_gradient_is_finite() {
  // Outside the owned slices the buckets still hold this rank's own part; alone, everything is own.
  const Tensor count_1 = ops_.empty({1}, DType::i64);
  ops_.fill(count_1, 0.0, compute_);
  const auto count = [&](const OwnedSlice& slice, std::int64_t begin, std::int64_t end) {
    if (begin < end) ops_.count_nonfinite(count_1, store_.groups()[slice.group].grad.rows(begin, end), compute_);
  };
  for (const OwnedSlice& slice : slices_) {
    if (slice.ranks->size() == 1) {
      count(slice, slice.begin, slice.end);
    } else {
      count(slice, slice.bucket.begin, slice.begin);
      count(slice, slice.end, slice.bucket.end);
    }
  }
  std::int64_t nonfinite = 0;
  ops_.download(std::as_writable_bytes(std::span(&nonfinite, 1)), count_1, compute_);
  compute_.synchronize();
  return nonfinite == 0;
}

std::string TrainStep::first_bad_layer(std::span<const MicroBatch> micro_batches) {
  if (!diagnose_) return {};
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    ExecContext ctx{ops_, compute_, comm_, micro_batches[i], dtype_, true};
    if (const std::string layer = diagnose_(ctx); !layer.empty())
      return fmt::format("first in {} of micro-batch {}", layer, i);
  }
  return {};
}

void TrainStep::report_nonfinite(std::int64_t step, std::span<const MicroBatch> micro_batches,
                                 std::span<const double> own) {
  std::string mine;
  const auto add = [&](std::string_view what) { mine += (mine.empty() ? "" : ", ") + std::string(what); };
  if (!std::isfinite(own[kLoss])) add(fmt::format("loss {}", own[kLoss]));
  if (!std::isfinite(own[kScalar])) add(fmt::format("loss {}", own[kScalar]));
  if (!std::isfinite(own[kMtpLoss])) add(fmt::format("MTP loss {}", own[kMtpLoss]));
  if (!std::isfinite(own[kBalanceLoss])) add(fmt::format("balance loss {}", own[kBalanceLoss]));
  if (!own_gradient_is_finite()) add("gradient not finite");
  HostGroup& ranks = mesh_.host(Axis::world);
  // A forward that ranks run together is run by all of them, or by none.
  const bool together = mesh_.size(Axis::tp) * mesh_.size(Axis::cp) * mesh_.size(Axis::ep) > 1;
  if (together ? ranks.any(!mine.empty()) : !mine.empty())
    if (const std::string layer = first_bad_layer(micro_batches); !layer.empty() && !mine.empty()) add(layer);

  auto found = ranks.all_gather(std::string_view(mine));
  const auto nothing = [&] { return std::all_of(found.begin(), found.end(), [](const auto& t) { return t.empty(); }); };
  // What a rank spoiled in its owned slice alone cannot be told from what others sent it: look at all of them.
  if (nothing()) found = ranks.all_gather(std::string_view(first_bad_layer(micro_batches)));
  const auto hosts = ranks.all_gather(std::string_view(ranks.host_name()));
  std::string text = fmt::format("step {}: loss {}, squared gradient norm {}; nothing was updated.", step,
                                 numbers_[kLoss] + numbers_[kScalar], numbers_[kSquaredNorm]);
  for (std::size_t rank = 0; rank < found.size(); ++rank)
    if (!found[rank].empty()) text += fmt::format(" Rank {} ({}): {}.", rank, hosts[rank], found[rank]);
  if (nothing()) text += " No rank finds it in its own numbers: the sum over ranks overflowed.";
  text += " Restart from the last checkpoint with a lower optimizer.lr.peak or a longer warm-up, or look at the data";
  throw NonFiniteError(text);
}

// ---- checkpoints

std::vector<NamedShard> TrainStep::shards() const {
  auto list = optimizer_.shards();
  for (NamedShard& shard : state_shards(biases_, mesh_.coord(Axis::layer) == 0)) list.push_back(std::move(shard));
  return list;
}

void TrainStep::after_load() { optimizer_.gather_weights(compute_, comm_); }

std::string TrainStep::state() const { return fmt::format("updates {}\nguard {}\n", num_updates_, guard_.state()); }

void TrainStep::restore(const std::string& state) {
  std::istringstream text(state);
  std::string updates_word, guard_word, guard_state;
  std::int64_t updates = -1;
  text >> updates_word >> updates >> guard_word >> std::ws;
  std::getline(text, guard_state);
  if (updates_word != "updates" || guard_word != "guard" || updates < 0)
    throw DataError("optimizer state: wanted 'updates N' and 'guard ...', found '" + state.substr(0, 60) + "'");
  guard_.restore(guard_state);
  num_updates_ = updates;
}

}  // namespace athanor
