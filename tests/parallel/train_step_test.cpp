// The whole step on a tiny DeepSeek-V3 (MLA, experts, MTP): n ranks do what one does.
#include "parallel/train_step.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "src/backend/solo_communicator.hpp"
#include "src/base/error.hpp"
#include "src/model/transformer.hpp"
#include "tests/parallel/tensor_values.hpp"
#include "tests/parallel/tiny_models.hpp"
#include "tests/support/heap_counter.hpp"

namespace athanor {
namespace {

using testing::values_of;

constexpr std::int64_t kSequences = 4, kLength = 12;  // of the global batch

ModelConfig tiny_config() {
  ModelConfig config = testing::experts_config();
  config.vocab_size = 29;
  config.num_layers = 3;
  config.num_heads = 2;
  config.balance_loss_alpha = 1e-3;
  return config;
}

/// Sequences [first, first + count) of step `step`'s global batch as one micro-batch.
MicroBatch make_batch(Backend& ops, std::int64_t step, std::int64_t first, std::int64_t count, DType acc,
                      Stream& stream) {
  const ModelConfig config = tiny_config();
  const auto token = [&](std::int64_t sequence, std::int64_t position) {
    const Philox random(11, RandomPurpose::test, static_cast<std::uint64_t>(step * kSequences + sequence));
    // A text with a rule to learn: every third token repeats the one before.
    const std::int64_t source = position % 3 == 2 ? position - 1 : position;
    return static_cast<double>(random.word64(static_cast<std::uint64_t>(source)) %
                               static_cast<std::uint64_t>(config.vocab_size));
  };
  const double tokens_all = kSequences * kLength, mtp_all = kSequences * (kLength - 1);
  std::vector<double> tokens, positions, begins, targets, weights, mtp_tokens, mtp_targets, mtp_weights;
  for (std::int64_t s = 0; s < count; ++s)
    for (std::int64_t t = 0; t < kLength; ++t) {
      tokens.push_back(token(first + s, t));
      positions.push_back(static_cast<double>(t));
      begins.push_back(static_cast<double>(s * kLength));
      targets.push_back(token(first + s, t + 1));
      weights.push_back(1.0 / tokens_all);
      mtp_tokens.push_back(token(first + s, t + 1));
      mtp_targets.push_back(token(first + s, t + 2));
      mtp_weights.push_back(t + 1 < kLength ? 0.3 / mtp_all : 0.0);
    }
  const Shape shape{count * kLength};
  const auto ids = [&](const std::vector<double>& values) {
    return testing::tensor_of(ops, values, shape, DType::i32, stream);
  };
  const auto reals = [&](const std::vector<double>& values) {
    return testing::tensor_of(ops, values, shape, acc, stream);
  };
  MicroBatch batch;
  batch.tokens_T = ids(tokens);
  batch.positions_T = ids(positions);
  batch.key_begin_T = ids(begins);
  batch.targets_T = ids(targets);
  batch.loss_weights_T = reals(weights);
  batch.mtp.push_back({ids(mtp_tokens), ids(mtp_targets), reals(mtp_weights)});
  batch.num_sequences = count;
  batch.tokens_per_sequence = kLength;
  batch.balance_weight = static_cast<double>(count) / static_cast<double>(kSequences);
  return batch;
}

OptimizerOptions tiny_options() {
  OptimizerOptions options;
  options.adamw.clip_norm = 0.5;
  return options;
}

/// A model and all that trains it, among `group`'s ranks.
struct Job {
  Job(const HostGroup& group, const std::string& device, DType type, OptimizerOptions options = tiny_options())
      : dtype(type),
        ops(make_backend(device)),
        compute(ops->make_stream()),
        comm(ops->make_stream()),
        mesh(group, MeshShape{}, *ops),
        model(*ops, tiny_config(), dtype, *compute),
        store(*ops, model.parameters(), {.pad_elements = ReductionRanks(mesh).bucket_pad(), .bucket_elements = 1000},
              *compute),
        step(*ops, {&model}, store, mesh, options, dtype, *compute, *comm) {
    store.initialize(5, *compute);
    step.start();
  }
  /// This rank's micro-batches of step `number`, `sequences` each.
  std::vector<MicroBatch> batches(std::int64_t number, std::int64_t sequences) {
    const std::int64_t share = kSequences / mesh.size(Axis::dp), first = share * mesh.coord(Axis::dp);
    std::vector<MicroBatch> list;
    for (std::int64_t at = 0; at < share; at += sequences)
      list.push_back(make_batch(*ops, number, first + at, sequences, accumulation_dtype(dtype), *compute));
    return list;
  }
  StepResult run(std::int64_t number, std::int64_t sequences = 1) {
    const auto list = batches(number, sequences);
    return step.run({.step = number, .lr = 5e-3, .bias_speed = 1e-2}, list);
  }
  std::vector<double> all_weights() {
    std::vector<double> all;
    for (const Parameter* parameter : store.parameters())
      for (const double value : values_of(*ops, parameter->weight, *compute)) all.push_back(value);
    for (const StateTensor* state : model.states())
      for (const double value : values_of(*ops, state->tensor, *compute)) all.push_back(value);
    return all;
  }

  DType dtype;
  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> compute, comm;
  ProcessMesh mesh;
  Transformer model;
  ParameterStore store;
  TrainStep step;
};

// One rank and n ranks train alike: f64 losses, norms and expert loads over 20 steps to 1e-10, and the model learns.
TEST(TrainStep, ManyRanksEqualOne) {
  HostGroup world = HostGroup::world();
  HostGroup self = HostGroup::self();
  Job shared(world, "cpu", DType::f64), alone(self, "cpu", DType::f64);
  double first = 0.0, last = 0.0;
  int clipped = 0;
  for (std::int64_t step = 1; step <= 20; ++step) {
    const StepResult a = shared.run(step), b = alone.run(step, 2);  // other micro-batches on top
    EXPECT_NEAR(a.loss, b.loss, 1e-10) << "step " << step;
    EXPECT_NEAR(a.mtp_loss, b.mtp_loss, 1e-10) << "step " << step;
    EXPECT_NEAR(a.balance_loss, b.balance_loss, 1e-10) << "step " << step;
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-10) << "step " << step;
    EXPECT_EQ(a.expert_load_max_over_mean, b.expert_load_max_over_mean) << "step " << step;
    EXPECT_EQ(a.tokens, kSequences * kLength);
    EXPECT_EQ(a.clipped, b.clipped);
    clipped += a.clipped ? 1 : 0;
    if (step == 1) first = a.loss;
    last = a.loss;
  }
  EXPECT_NEAR(first, std::log(29.0), 0.2);  // knows nothing yet
  EXPECT_LT(last, first - 0.2);
  EXPECT_GT(clipped, 0);
  const auto a = shared.all_weights(), b = alone.all_weights();
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  EXPECT_LT(worst, 1e-9);
  // All ranks hold the same bits.
  std::uint64_t hash = stable_hash({reinterpret_cast<const char*>(a.data()), a.size() * sizeof(double)});
  EXPECT_NO_THROW(world.check_same("the weights", hash));
}

// The guarded device, where messages run late and memory is closed to host code, gives the bits of the plain one.
TEST(TrainStep, RunsOnTheGuardedDevice) {
  HostGroup world = HostGroup::world();
  Job plain(world, "cpu", DType::f32), guarded(world, "cpu-guarded", DType::f32);
  for (std::int64_t step = 1; step <= 3; ++step) {
    const StepResult a = plain.run(step), b = guarded.run(step);
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.grad_norm, b.grad_norm);
  }
  EXPECT_EQ(plain.all_weights(), guarded.all_weights());
}

// In bf16 a run repeats bit for bit, and saved slices restore it exactly: k steps, save, load elsewhere, go on.
TEST(TrainStep, RestoresBitForBit) {
  HostGroup world = HostGroup::world();
  OptimizerOptions options = tiny_options();
  options.adamw.bf16_moments = true;
  options.spike_guard = {.z_threshold = 3.0, .window = 4};
  Job straight(world, "cpu", DType::bf16, options), stopped(world, "cpu", DType::bf16, options),
      resumed(world, "cpu", DType::bf16, options);
  for (std::int64_t step = 1; step <= 6; ++step) straight.run(step);
  for (std::int64_t step = 1; step <= 3; ++step) stopped.run(step);

  const auto from = stopped.step.shards(), to = resumed.step.shards();
  ASSERT_EQ(from.size(), to.size());
  for (Parameter* parameter : resumed.store.parameters()) resumed.ops->fill(parameter->weight, 7.0, *resumed.compute);
  for (std::size_t i = 0; i < from.size(); ++i) {
    ASSERT_EQ(from[i].spec.name, to[i].spec.name);
    std::vector<std::byte> bytes(from[i].local.bytes());
    stopped.ops->download(bytes, from[i].local, *stopped.compute);
    stopped.compute->synchronize();
    resumed.ops->upload(to[i].local, bytes, *resumed.compute);
  }
  resumed.step.after_load();
  resumed.step.restore(stopped.step.state());
  EXPECT_EQ(resumed.all_weights(), stopped.all_weights());
  for (std::int64_t step = 4; step <= 6; ++step) resumed.run(step);
  EXPECT_EQ(resumed.all_weights(), straight.all_weights());
  EXPECT_EQ(resumed.step.state(), straight.step.state());
  EXPECT_THROW(resumed.step.restore("nonsense"), DataError);
}

// Exactly one rank writes each state tensor, and every weight is named "model/...".
TEST(TrainStep, NamesItsShards) {
  HostGroup world = HostGroup::world();
  Job job(world, "cpu", DType::bf16);
  std::int64_t model_elements = 0, masters = 0, bias_writers = 0;
  for (const NamedShard& shard : job.step.shards()) {
    const std::string& name = shard.spec.name;
    if (name.ends_with(".bias")) bias_writers += shard.is_writer ? 1 : 0;
    if (name.starts_with("model/") && !name.ends_with(".bias")) model_elements += shard.local.numel();
    if (name.starts_with("optimizer/master/")) {
      EXPECT_EQ(shard.local.dtype(), DType::f32);
      EXPECT_EQ(name.find("router"), std::string::npos) << "f32 parameters are their own master";
      masters += shard.local.numel();
    }
  }
  EXPECT_EQ(world.sum(model_elements), job.store.numel());
  EXPECT_GT(world.sum(masters), 0);
  EXPECT_EQ(world.sum(bias_writers), static_cast<std::int64_t>(job.model.states().size()));
}

// A weight that is no number stops every rank before anything is updated; the message names step, rank and layer.
TEST(TrainStep, StopsOnNonFiniteLoss) {
  HostGroup world = HostGroup::world();
  Job job(world, "cpu", DType::f32);
  job.step.set_diagnose([&](ExecContext& ctx) { return job.model.first_nonfinite_layer(ctx); });
  job.run(1);
  const int bad = world.size() - 1;
  if (world.rank() == bad)  // this rank alone: a broken memory, say
    job.ops->fill(job.model.parameters()[3]->weight, std::numeric_limits<double>::quiet_NaN(), *job.compute);
  const auto healthy = job.model.parameters().back();
  const auto before = values_of(*job.ops, healthy->weight, *job.compute);
  std::string message;
  try {
    job.run(2);
  } catch (const NonFiniteError& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("step 2: loss "), std::string::npos) << message;
  EXPECT_NE(message.find("Rank " + std::to_string(bad) + " ("), std::string::npos) << message;
  EXPECT_NE(message.find("first in layers.0."), std::string::npos) << message;
  EXPECT_EQ(message.find("Rank 0 (") == std::string::npos, bad > 0) << message;
  EXPECT_EQ(values_of(*job.ops, healthy->weight, *job.compute), before);
}

// A spike leaves weights, moments and biases alone, and does not count as an update.
TEST(TrainStep, SkipsSpikes) {
  HostGroup world = HostGroup::world();
  OptimizerOptions options = tiny_options();
  options.spike_guard = {.z_threshold = 50.0, .window = 4};
  Job job(world, "cpu", DType::f32, options);
  for (std::int64_t step = 1; step <= 4; ++step) EXPECT_FALSE(job.run(step).skipped);
  for (Parameter* parameter : job.model.parameters())  // what comes before a norm is normalised away
    if (parameter->name() == "final_norm.weight") job.ops->scale(parameter->weight, 300.0, *job.compute);
  const auto before = job.all_weights();
  const StepResult result = job.run(5);
  EXPECT_TRUE(result.skipped) << result.loss << " " << result.grad_norm;
  EXPECT_EQ(job.all_weights(), before);
  EXPECT_EQ(job.step.num_updates(), 4);
}

// Router biases follow the counts of the whole global batch: overloaded experts go down, idle ones up, by the speed.
TEST(TrainStep, MovesRouterBiasesByGlobalCounts) {
  HostGroup world = HostGroup::world();
  Job job(world, "cpu", DType::f64);
  job.run(1);
  const double mean = static_cast<double>(kSequences * kLength * 2) / 8.0;
  for (std::size_t layer = 0; layer < job.model.states().size(); ++layer) {
    const auto bias = values_of(*job.ops, job.model.states()[layer]->tensor, *job.compute);
    const auto counts = values_of(*job.ops, job.model.sums().expert_counts_E[layer], *job.compute);
    double total = 0.0;
    for (std::size_t e = 0; e < bias.size(); ++e) {
      const double direction = counts[e] < mean ? 1.0 : counts[e] > mean ? -1.0 : 0.0;
      EXPECT_DOUBLE_EQ(bias[e], 1e-2 * direction) << "layer " << layer << " expert " << e;
      total += counts[e];
    }
    EXPECT_EQ(total, mean * 8.0);
  }
}

// Once warm, a step allocates nothing: no tensor memory from the system and nothing from the heap. (Batches are made
// by the data layer and counted there.)
TEST(TrainStep, AllocatesNothingOnceWarm) {
  HostGroup world = HostGroup::world();
  Job job(world, "cpu", DType::f32);
  std::int64_t from_heap = 0, warm_blocks = 0;
  for (std::int64_t step = 1; step <= 6; ++step) {
    const auto list = job.batches(step, 1);
    if (step == 3) warm_blocks = job.ops->arena().statistics().system_allocations;
    const std::int64_t before = heap_allocations();
    job.step.run({.step = step, .lr = 5e-3, .bias_speed = 1e-2}, list);
    if (step >= 3) from_heap += heap_allocations() - before;
  }
  EXPECT_EQ(from_heap, 0);
  EXPECT_EQ(job.ops->arena().statistics().system_allocations, warm_blocks);
}

}  // namespace
}  // namespace athanor
