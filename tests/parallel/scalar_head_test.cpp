// A model with a scalar head on every layout: the values, and an update on preferences and on values, are those of one
// rank.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "parallel/data/owned_slices.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/pipeline/schedule_plan.hpp"
#include "parallel/rollout/answer_batcher.hpp"
#include "parallel/train_step.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/tensor_values.hpp"
#include "tests/parallel/tiny_models.hpp"

namespace athanor {
namespace {

using testing::values_of;

ModelConfig tiny(AttentionKind attention) {
  ModelConfig config = testing::sampling_config(attention);
  config.vocab_size = 64;
  config.max_positions = 32;
  config.tied_head = true;
  return with_scalar_head(config);
}

struct Job {
  Job(const HostGroup& group, const MeshShape& shape, const ModelConfig& config, DType dtype = DType::f64)
      : ops(make_backend("cpu")),
        compute(ops->make_stream()),
        comm(ops->make_stream()),
        mesh(group, shape, *ops, true),
        model(*ops, mesh, {.config = config, .dtype = dtype}, *compute),
        store(*ops, model.parameters(), {.pad_elements = ReductionRanks(mesh).bucket_pad()}, *compute),
        step(*ops, model.chunks(), store, mesh, {}, dtype, *compute, *comm, SchedulePlan{"1f1b"}, config.dim) {
    store.initialize(7, *compute);
    step.start();
  }
  AnswerBatcher batcher(std::int64_t rows) {
    return AnswerBatcher(*ops, {.rows = {.row_tokens = 32,
                                         .rows_per_batch = rows,
                                         .acc = accumulation_dtype(model.dtype()),
                                         .tp_size = mesh.size(Axis::tp)},
                                .centering = 0.01,
                                .margin = 0.1});
  }
  template <class T>
  std::vector<T> share(const std::vector<T>& all) {
    const auto ranks = static_cast<std::size_t>(mesh.size(Axis::data)),
               rank = static_cast<std::size_t>(mesh.coord(Axis::data));
    return {all.begin() + static_cast<std::ptrdiff_t>(all.size() * rank / ranks),
            all.begin() + static_cast<std::ptrdiff_t>(all.size() * (rank + 1) / ranks)};
  }

  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> compute, comm;
  ProcessMesh mesh;
  MeshModel model;
  ParameterStore store;
  TrainStep step;
};

/// Prompts with two to four answers each, ties among them; or each answer with a label.
std::vector<AnswerGroup> groups(bool labelled = false) {
  std::vector<AnswerGroup> list;
  const Philox random(3, RandomPurpose::test);
  std::uint64_t next = 0;
  for (std::size_t g = 0; g < 7; ++g) {
    AnswerGroup group;
    for (std::size_t a = 0; a < 2 + g % 3; ++a) {
      std::vector<std::int32_t> tokens(3 + random.word64(next++) % 12);
      for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random.word64(next++) % 64);
      group.sequences.push_back(tokens);
      if (labelled)
        group.labels.push_back(a % 2 == 0 ? 1.0 : 0.0);
      else
        group.scores.push_back(static_cast<double>(random.word64(next++) % 3));
    }
    list.push_back(group);
  }
  list[0].scores.assign(labelled ? 0 : 2, 1.0);  // nothing but a tie
  return list;
}

std::vector<MeshShape> layouts() {
  return {{.dp = 1},
          {.dp = 2},
          {.dp = 1, .tp = 2},
          {.dp = 2, .ep = 2},
          {.pp = 2, .dp = 1},
          {.dp = 2, .tp = 2},
          {.dp = 2, .tp = 2, .ep = 4},
          {.pp = 2, .dp = 2, .ep = 2},
          {.dp = 4},
          {.pp = 2, .dp = 1, .tp = 2}};
}

template <class F>
void on_every_layout(const F& f) {
  HostGroup world = HostGroup::world();
  for (const MeshShape& shape : layouts()) {
    if (shape.pp * shape.dp * shape.cp * shape.tp != world.size()) continue;
    SCOPED_TRACE(fmt::format("pp {} dp {} tp {} ep {}", shape.pp, shape.dp, shape.tp, shape.ep));
    f(world, shape);
  }
}

/// All values of the sequences of these groups that are known here: none on pipeline ranks without the head.
std::vector<std::vector<double>> values_here(Job& job, const std::vector<AnswerGroup>& mine, std::int64_t rows) {
  AnswerBatcher batcher = job.batcher(rows);
  const std::int64_t count = job.mesh.host(Axis::world).max(batcher.micro_batches(mine));
  std::vector<std::vector<double>> values, result;
  for (const MicroBatch& batch : batcher.build_scoring(mine, count, *job.compute)) {
    ExecContext ctx{*job.ops, *job.compute, *job.comm, batch, job.model.dtype(), false};
    const Tensor values_T = job.model.values(ctx);
    values.push_back(values_T.defined() ? values_of(*job.ops, values_T, *job.compute) : std::vector<double>{});
  }
  for (std::size_t g = 0; g < mine.size(); ++g)
    for (std::size_t a = 0; a < mine[g].sequences.size(); ++a) {
      const auto place = batcher.place_of(g, a);
      auto& of = result.emplace_back();
      for (std::size_t i = 0; i < mine[g].sequences[a].size() && !values[place.micro_batch].empty(); ++i)
        of.push_back(values[place.micro_batch][place.first + i]);
    }
  return result;
}

// Promise: every rank of tp with the head has the values that one rank has, whatever is packed beside a sequence.
TEST(ScalarHead, ValuesDoNotDependOnTheLayout) {
  on_every_layout([](HostGroup& world, const MeshShape& shape) {
    HostGroup self = HostGroup::self();
    for (const AttentionKind attention : {AttentionKind::mla, AttentionKind::gqa}) {
      Job cut(world, shape, tiny(attention)), alone(self, {}, tiny(attention));
      const auto mine = cut.share(groups());
      const auto a = values_here(cut, mine, 4), b = values_here(alone, mine, 2);
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].empty(), cut.mesh.coord(Axis::pp) != cut.model.head_rank());
        const bool exact = shape.tp == 1 && shape.ep == 1;  // no sum is cut
        for (std::size_t t = 0; t < a[i].size(); ++t) EXPECT_NEAR(a[i][t], b[i][t], exact ? 0.0 : 1e-12);
      }
    }
  });
}

// Promise: two updates on preferences, in pairs and by labels, give the losses, sums, norms and values of one rank.
TEST(ScalarHead, LearnsThePreferencesAlikeOnEveryLayout) {
  on_every_layout([](HostGroup& world, const MeshShape& shape) {
    HostGroup self = HostGroup::self();
    for (const bool labelled : {false, true}) {
      Job cut(world, shape, tiny(AttentionKind::mla)), alone(self, {}, tiny(AttentionKind::mla));
      const auto all = groups(labelled);
      const auto run = [&](Job& job, std::int64_t step) {
        const auto mine = job.share(all);
        AnswerBatcher batcher = job.batcher(4);
        const std::int64_t batches = job.mesh.host(Axis::layer).max(batcher.micro_batches(mine));
        return job.step.run({.step = step, .lr = 1e-2},
                            batcher.build(mine, count(all), std::max<std::int64_t>(batches, 2), *job.compute));
      };
      for (std::int64_t step = 1; step <= 2; ++step) {
        const StepResult a = run(cut, step), b = run(alone, step);
        EXPECT_NEAR(a.loss, b.loss, 1e-10);
        EXPECT_EQ(a.loss, a.scalar[kPreferenceLoss]);
        EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-9);
        EXPECT_GT(a.grad_norm, 0.0);
        for (std::size_t i = 0; i < kNumPreferenceSums; ++i) EXPECT_NEAR(a.scalar[i], b.scalar[i], 1e-8) << i;
        EXPECT_EQ(a.scalar[kPreferenceCount], labelled ? 20.0 : static_cast<double>(a.scalar[kPreferenceGoodCount]));
      }
      const auto mine = cut.share(all);
      const auto a = values_here(cut, mine, 4), b = values_here(alone, mine, 4);
      for (std::size_t i = 0; i < a.size(); ++i)
        for (std::size_t t = 0; t < a[i].size(); ++t) EXPECT_NEAR(a[i][t], b[i][t], 1e-8);
    }
  });
}

// Promise: an update of a critic is that of one rank.
TEST(ScalarHead, LearnsValuesAlikeOnEveryLayout) {
  on_every_layout([](HostGroup& world, const MeshShape& shape) {
    HostGroup self = HostGroup::self();
    Job cut(world, shape, tiny(AttentionKind::gqa)), alone(self, {}, tiny(AttentionKind::gqa));
    const auto all = groups();
    const auto run = [&](Job& job) {
      const auto mine = job.share(all);
      AnswerBatcher batcher = job.batcher(4);
      const std::int64_t batches = job.mesh.host(Axis::layer).max(batcher.micro_batches(mine));
      auto built = batcher.build_scoring(mine, batches, *job.compute);
      const auto put = [&](const std::vector<double>& values) {
        return upload_vector<double>(*job.ops, values, {std::ssize(values)}, *job.compute);
      };
      for (std::size_t m = 0; m < built.size(); ++m) {
        std::vector<double> weights(128, 0.0), old(128, 0.0), returns(128, 0.0);
        for (std::size_t g = 0; g < mine.size(); ++g)
          for (std::size_t a = 0; a < mine[g].sequences.size(); ++a)
            if (const auto place = batcher.place_of(g, a); place.micro_batch == m)
              for (std::size_t i = 1; i < mine[g].sequences[a].size(); ++i) {
                weights[place.first + i] = 0.01;
                old[place.first + i] = 0.1 * mine[g].sequences[a][i] - 3.0;
                returns[place.first + i] = 0.05 * static_cast<double>(i);
              }
        built[m].loss_weights_T = put(weights);
        built[m].value = MicroBatch::ValueRows{put(old), put(returns), 0.2};
      }
      return job.step.run({.step = 1, .lr = 1e-2}, built);
    };
    const StepResult a = run(cut), b = run(alone);
    EXPECT_NEAR(a.loss, b.loss, 1e-10);
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-9);
    for (std::size_t i = 0; i < kNumValueSums; ++i) EXPECT_NEAR(a.scalar[i], b.scalar[i], 1e-8) << i;
    EXPECT_GT(a.scalar[kValueClipped], 0.0);
  });
}

// Promise: bf16 models score in f32, near to what f32 says; a group that fits into no micro-batch is refused by name,
// and so are sequences cut over ranks.
TEST(ScalarHead, TypesAndRefusals) {
  HostGroup self = HostGroup::self();
  Job exact(self, {}, tiny(AttentionKind::gqa), DType::f32), coarse(self, {}, tiny(AttentionKind::gqa), DType::bf16);
  const auto all = groups();
  const auto a = values_here(exact, all, 4), b = values_here(coarse, all, 4);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].back(), b[i].back(), 0.5);
  AnswerBatcher small = exact.batcher(1);
  EXPECT_THROW(small.micro_batches(all), ConfigError);
  HostGroup world = HostGroup::world();
  if (world.size() == 2) {
    EXPECT_THROW(Job(world, {.dp = 1, .cp = 2}, tiny(AttentionKind::gqa)), ConfigError);
  }
}

}  // namespace
}  // namespace athanor
