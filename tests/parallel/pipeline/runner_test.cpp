// The runner on chunks that are small linear maps, against one rank that runs everything in turn.
#include "parallel/pipeline/runner.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "parallel/mpi/mpi_communicator.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/pipeline/all_schedules.hpp"
#include "tests/parallel/tensor_values.hpp"
#include "tests/support/heap_counter.hpp"

namespace athanor {
namespace {

using testing::tensor_of;
using testing::values_of;

constexpr std::int64_t kWidth = 6, kVocab = 11;

/// y = x w'; the first chunk looks its x up, the last one's loss is half the square of y. Refuses what a chunk of the
/// model could not bear: a slot in use, another micro-batch than that of F, a W before its I.
class LinearChunk final : public ModelChunk {
 public:
  LinearChunk(Backend& ops, Stream& stream, int chunk, bool is_last) : is_first_(chunk == 0), is_last_(is_last) {
    const auto random = [&](std::int64_t rows, int purpose) {
      const Philox philox(11, RandomPurpose::test, static_cast<std::uint64_t>(2 * chunk + purpose));
      std::vector<double> values;
      for (std::int64_t i = 0; i < rows * kWidth; ++i)
        values.push_back(philox.uniform(static_cast<std::uint64_t>(i)) - 0.5);
      return tensor_of(ops, values, {rows, kWidth}, DType::f64, stream);
    };
    weight_ = random(kWidth, 0);
    embedding_ = random(kVocab, 1);
    grad_ = ops.empty({kWidth, kWidth}, DType::f64);
    ops.fill(grad_, 0.0, stream);
  }

  Tensor forward(ExecContext& ctx, int slot, const Tensor& x) override {
    EXPECT_EQ(x.defined(), !is_first_);
    while (static_cast<std::size_t>(slot) >= slots_.size()) slots_.emplace_back();
    Slot& saved = slots_[static_cast<std::size_t>(slot)];
    EXPECT_EQ(saved.batch, nullptr) << "slot " << slot << " is in use";
    saved = {&ctx.batch, x, {}};
    const Shape shape{ctx.batch.tokens_T.dim(0), kWidth};
    if (is_first_) {
      saved.x = ctx.empty(shape);
      ctx.ops.gather_rows(saved.x, embedding_, ctx.batch.tokens_T, ctx.compute);
    }
    EXPECT_EQ(saved.x.shape(), shape);
    Tensor y = ctx.empty(shape);
    ctx.ops.gemm(y, saved.x, Transpose::no, weight_, Transpose::yes, false, ctx.compute);
    if (!is_last_) return y;
    saved.dy = y;  // the derivative of y^2 / 2
    return {};
  }
  Tensor backward_input(ExecContext& ctx, int slot, const Tensor& dy) override {
    Slot& saved = slots_.at(static_cast<std::size_t>(slot));
    EXPECT_EQ(saved.batch, &ctx.batch);
    EXPECT_EQ(dy.defined(), !is_last_);
    if (!is_last_) saved.dy = dy;
    if (is_first_) return {};
    Tensor dx = ctx.empty(saved.x.shape());
    ctx.ops.gemm(dx, saved.dy, Transpose::no, weight_, Transpose::no, false, ctx.compute);
    return dx;
  }
  void backward_weight(ExecContext& ctx, int slot) override {
    Slot& saved = slots_.at(static_cast<std::size_t>(slot));
    EXPECT_EQ(saved.batch, &ctx.batch);
    EXPECT_FALSE(complete) << "a W after the one that completed the gradients";
    complete = ctx.gradients != nullptr;
    ctx.ops.gemm(grad_, saved.dy, Transpose::yes, saved.x, Transpose::no, true, ctx.compute);
    saved = {};
  }

  std::vector<Parameter*> parameters() override { return {}; }
  std::vector<StateTensor*> states() override { return {}; }
  StepSums& sums() override { return sums_; }

  const Tensor& grad() const { return grad_; }
  std::size_t num_slots() const { return slots_.size(); }
  bool complete = false;

 private:
  struct Slot {
    const MicroBatch* batch = nullptr;
    Tensor x, dy;
  };
  bool is_first_, is_last_;
  Tensor weight_, embedding_, grad_;
  std::vector<Slot> slots_;
  StepSums sums_;
};

class Nobody final : public GradientListener {
  void gradient_ready(Parameter&) override {}
};

class RunnerTest : public ::testing::TestWithParam<const char*> {
 protected:
  /// Micro-batches of different lengths, so that shapes are those of their own batch.
  std::vector<MicroBatch> micro_batches(int count) {
    std::vector<MicroBatch> batches(static_cast<std::size_t>(count));
    for (int m = 0; m < count; ++m) {
      std::vector<double> ids;
      for (int t = 0; t < 3 + m % 3; ++t) ids.push_back(static_cast<double>((7 * m + 3 * t) % kVocab));
      const auto tokens = static_cast<std::int64_t>(ids.size());
      batches[static_cast<std::size_t>(m)].tokens_T = tensor_of(*ops, ids, {tokens}, DType::i32, *stream);
    }
    return batches;
  }
  std::vector<std::unique_ptr<LinearChunk>> make_chunks(int count) {
    std::vector<std::unique_ptr<LinearChunk>> chunks;
    for (int c = 0; c < count; ++c) chunks.push_back(std::make_unique<LinearChunk>(*ops, *stream, c, c == count - 1));
    return chunks;
  }
  static Shape activation_shape(const MicroBatch& batch) { return {batch.tokens_T.dim(0), kWidth}; }

  HostGroup world = HostGroup::world();
  std::unique_ptr<Backend> ops = make_backend(GetParam());
  std::unique_ptr<Stream> stream = ops->make_stream();
  MpiCommunicator comm{world};
  Nobody listener;
  PipelineRunner::ContextOf context_of = [this](const MicroBatch& batch, bool completes) {
    return ExecContext{.ops = *ops,
                       .compute = *stream,
                       .comm = *stream,
                       .batch = batch,
                       .dtype = DType::f64,
                       .gradients = completes ? &listener : nullptr};
  };
};

// Every schedule gives each chunk the gradients of a run in turn, bit for bit, in no more slots than it says, and tells
// which W is the last.
TEST_P(RunnerTest, EqualsOneRankInTurn) {
  auto schedules = testing::all_schedules({world.size()}, {1, 2, 5, 9});
  if (world.size() == 2) schedules.push_back(testing::odd_schedule());
  for (const PipelineSchedule& schedule : schedules) {
    const auto batches = micro_batches(schedule.num_micro_batches);
    const auto wanted = make_chunks(schedule.num_chunks);
    for (const MicroBatch& batch : batches) {
      ExecContext ctx = context_of(batch, false);
      Tensor x, dy;
      for (const auto& chunk : wanted) x = chunk->forward(ctx, 0, x);
      for (std::size_t c = wanted.size(); c-- > 0;) dy = wanted[c]->backward_input(ctx, 0, dy);
      for (const auto& chunk : wanted) chunk->backward_weight(ctx, 0);
    }

    PipelineRunner runner(schedule, comm, activation_shape);
    const auto own = make_chunks(schedule.num_chunks);
    std::vector<ModelChunk*> chunks;
    for (int c = 0; c < schedule.num_chunks; ++c)
      chunks.push_back(runner.owns(c) ? own[static_cast<std::size_t>(c)].get() : nullptr);
    runner.run(context_of, chunks, batches);

    for (int c = 0; c < schedule.num_chunks; ++c) {
      if (!runner.owns(c)) continue;
      const LinearChunk& chunk = *own[static_cast<std::size_t>(c)];
      EXPECT_EQ(values_of(*ops, chunk.grad(), *stream),
                values_of(*ops, wanted[static_cast<std::size_t>(c)]->grad(), *stream))
          << testing::shape_of(schedule) << " chunk " << c;
      EXPECT_EQ(chunk.num_slots(), static_cast<std::size_t>(runner.num_slots(c))) << testing::shape_of(schedule);
      EXPECT_TRUE(chunk.complete) << testing::shape_of(schedule) << " chunk " << c;
    }
  }
}

// Once warm, a run takes nothing from the heap.
TEST_P(RunnerTest, AllocatesNothingOnceWarm) {
  if (!stream->runs_at_once()) GTEST_SKIP() << "late work is kept on the heap";
  const PipelineSchedule schedule = make_1f1b(world.size(), 8);
  const auto batches = micro_batches(8);
  PipelineRunner runner(schedule, comm, activation_shape);
  const auto own = make_chunks(schedule.num_chunks);
  std::vector<ModelChunk*> chunks;
  for (const auto& chunk : own) chunks.push_back(chunk.get());
  std::int64_t from_heap = 0;
  for (int run = 0; run < 20; ++run) {
    for (const auto& chunk : own) chunk->complete = false;
    const std::int64_t before = heap_allocations();
    runner.run(context_of, chunks, batches);
    // How many sends are under way at once depends on the others' speed: a few runs find the most.
    if (run >= 10) from_heap += heap_allocations() - before;
    world.barrier();
  }
  EXPECT_EQ(from_heap, 0);
}

// A schedule for other ranks, micro-batches that do not fit it and a chunk that is missing are refused before anything
// is sent.
TEST_P(RunnerTest, RefusesWhatDoesNotFit) {
  EXPECT_THROW(PipelineRunner(make_1f1b(world.size() + 1, 4), comm, activation_shape), ConfigError);
  PipelineRunner runner(make_1f1b(world.size(), 4), comm, activation_shape);
  const auto own = make_chunks(world.size());
  std::vector<ModelChunk*> chunks;
  for (const auto& chunk : own) chunks.push_back(chunk.get());
  EXPECT_THROW(runner.run(context_of, chunks, micro_batches(3)), Error);
  const auto batches = micro_batches(4);
  chunks[static_cast<std::size_t>(world.rank())] = nullptr;
  EXPECT_THROW(runner.run(context_of, chunks, batches), Error);
  chunks.pop_back();
  EXPECT_THROW(runner.run(context_of, chunks, batches), Error);
}

INSTANTIATE_TEST_SUITE_P(Devices, RunnerTest, ::testing::Values("cpu", "cpu-guarded"),
                         [](const auto& info) { return std::string(info.param) == "cpu" ? "cpu" : "guarded"; });

}  // namespace
}  // namespace athanor
