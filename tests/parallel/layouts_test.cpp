// Every layout of the ranks trains like one rank: losses over 10 optimizer steps and all weights afterwards, in f64,
// for a tiny DeepSeek-V3 (MLA with compressed queries, shared and routed experts, balance loss, MTP) and a dense model
// with grouped queries and a tied head.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "parallel/agreement.hpp"
#include "src/nn/swiglu.hpp"
#include "tests/parallel/layout_job.hpp"
#include "tests/parallel/tensor_values.hpp"

namespace athanor {
namespace {

using testing::dense_config;
using testing::experts_config;
using testing::Job;
using testing::kLength;
using testing::kSequences;
using testing::Layout;
using testing::values_of;

/// Largest difference between what this rank holds and the same rectangle of the whole.
double worst_difference(Job& part, Job& whole) {
  double worst = 0.0;
  const auto all = whole.by_name();
  for (const auto& [name, parameter] : part.by_name()) {
    const auto mine = values_of(*part.ops, parameter->weight, *part.compute);
    const auto full = values_of(*whole.ops, all.at(name)->weight, *whole.compute);
    const ShardSpec& spec = parameter->spec;
    std::vector<double> wanted(mine.size());
    const Box everything = all.at(name)->spec.box();
    copy_box(spec.box(), everything, reinterpret_cast<const std::byte*>(full.data()), spec.box(),
             reinterpret_cast<std::byte*>(wanted.data()), sizeof(double));
    for (std::size_t i = 0; i < mine.size(); ++i) worst = std::max(worst, std::abs(mine[i] - wanted[i]));
  }
  return worst;
}

void expect_equal(const Layout& layout, const ModelConfig& config, bool isolate = false) {
  HostGroup world = HostGroup::world(), self = HostGroup::self();
  if (layout.mesh.pp * layout.mesh.dp * layout.mesh.cp * layout.mesh.tp != world.size()) return;
  const MeshShape& m = layout.mesh;
  SCOPED_TRACE(fmt::format("{}: pp {} dp {} cp {} tp {} ep {}", layout.schedule.name, m.pp, m.dp, m.cp, m.tp, m.ep));
  Job cut(world, layout, config, {isolate}), alone(self, {.mesh = {}, .micro_batch_sequences = 4}, config, {isolate});
  for (std::int64_t step = 1; step <= 10; ++step) {
    const StepResult a = cut.run(step), b = alone.run(step);
    EXPECT_NEAR(a.loss, b.loss, 1e-10) << "step " << step;
    EXPECT_NEAR(a.mtp_loss, b.mtp_loss, 1e-10) << "step " << step;
    EXPECT_NEAR(a.balance_loss, b.balance_loss, 1e-10) << "step " << step;
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-9) << "step " << step;
    EXPECT_EQ(a.expert_load_max_over_mean, b.expert_load_max_over_mean) << "step " << step;
    EXPECT_EQ(a.tokens, kSequences * kLength);
  }
  EXPECT_LT(worst_difference(cut, alone), 1e-9);
}

/// The layouts of the axes that cut a layer and its tokens, on as many ranks as there are.
std::vector<Layout> layer_layouts() {
  return {{{.dp = 1}},
          {{.dp = 2}},
          {{.dp = 1, .tp = 2}},
          {{.dp = 1, .cp = 2}},
          {{.dp = 4}},
          {{.dp = 1, .tp = 4}},
          {{.dp = 1, .cp = 4}},
          {{.dp = 2, .tp = 2}},
          {{.dp = 2, .cp = 2}},
          {{.dp = 1, .cp = 2, .tp = 2}},
          {{.dp = 2, .cp = 2, .tp = 2}},
          {{.dp = 1, .cp = 2, .tp = 4}},
          {{.dp = 1, .cp = 4, .tp = 2}}};
}

/// Those that spread experts.
std::vector<Layout> expert_layouts() {
  return {{.mesh = {.dp = 2, .ep = 2}},
          {.mesh = {.dp = 1, .tp = 2, .ep = 2}},
          {.mesh = {.dp = 1, .cp = 2, .ep = 2}},
          {.mesh = {.dp = 4, .ep = 4}},
          {.mesh = {.dp = 4, .ep = 2}},
          {.mesh = {.dp = 2, .tp = 2, .ep = 2}},
          {.mesh = {.dp = 2, .cp = 2, .ep = 4}},
          {.mesh = {.dp = 8, .ep = 8}, .ranks_per_node = 2},
          {.mesh = {.dp = 4, .tp = 2, .ep = 8}, .ranks_per_node = 4},
          {.mesh = {.dp = 2, .cp = 2, .tp = 2, .ep = 4}, .ranks_per_node = 2}};
}

/// Pipelines, in every schedule.
std::vector<Layout> pipeline_layouts() {
  std::vector<Layout> list;
  for (const char* name : {"gpipe", "1f1b", "zb1", "interleaved", "dualpipev"}) {
    const SchedulePlan schedule{name};
    list.push_back({.mesh = {.pp = 2, .dp = 1}, .schedule = schedule});
    list.push_back({.mesh = {.pp = 2, .dp = 2}, .schedule = schedule});
    list.push_back({.mesh = {.pp = 2, .dp = 1, .cp = 2}, .schedule = schedule});
    list.push_back({.mesh = {.pp = 2, .dp = 1, .tp = 2}, .schedule = schedule});
    list.push_back({.mesh = {.pp = 2, .dp = 2, .ep = 2}, .schedule = schedule});
    list.push_back({.mesh = {.pp = 2, .dp = 1, .tp = 2, .ep = 2}, .schedule = schedule});
    list.push_back({.mesh = {.pp = 2, .dp = 2, .tp = 2, .ep = 2}, .ranks_per_node = 2, .schedule = schedule});
  }
  list.push_back({.mesh = {.pp = 2, .dp = 1}, .layer_split = {3, 1}});
  list.push_back({.mesh = {.pp = 4, .dp = 1}, .schedule = {"zb1"}, .layer_split = {1, 1, 1, 1}});
  for (const char* name : {"gpipe", "1f1b", "zb1"}) {  // the last rank has the MTP module alone
    list.push_back({.mesh = {.pp = 4, .dp = 1}, .schedule = {name}});
    list.push_back({.mesh = {.pp = 4, .dp = 2, .ep = 2}, .schedule = {name}});
  }
  return list;
}

TEST(Layouts, ExpertsModel) {
  for (const Layout& layout : layer_layouts()) expect_equal(layout, experts_config());
  for (const Layout& layout : expert_layouts()) expect_equal(layout, experts_config());
}

TEST(Layouts, ExpertsModelInPipelines) {
  for (const Layout& layout : pipeline_layouts()) expect_equal(layout, experts_config());
}

TEST(Layouts, DenseModelInPipelines) {
  for (const Layout& layout : pipeline_layouts())
    if (layout.mesh.ep == 1) expect_equal(layout, dense_config());
}

TEST(Layouts, DenseModel) {
  for (const Layout& layout : layer_layouts()) expect_equal(layout, dense_config());
}

// What is computed again changes nothing, least of all the counts of experts and the balance loss.
TEST(Layouts, Recompute) {
  for (const Recompute recompute : {Recompute::selective, Recompute::full})
    for (const MeshShape& mesh : {MeshShape{.dp = 1}, MeshShape{.dp = 1, .tp = 2}, MeshShape{.pp = 2, .dp = 2, .ep = 2},
                                  MeshShape{.pp = 2, .dp = 1, .cp = 2, .tp = 2, .ep = 2}}) {
      expect_equal({.mesh = mesh, .schedule = {"zb1"}, .recompute = recompute}, experts_config());
      if (mesh.ep == 1) expect_equal({.mesh = mesh, .recompute = recompute}, dense_config());
    }
}

// Activations kept in FP8: pipelines, whose backward_weight comes late, give one rank's loss to the last bit and its
// gradients within the order of their sums. Where tp or cp cuts a sum, tiles lie elsewhere, and numbers are those
// within what 3 bits of mantissa cost; so are weights that a step has moved by such a gradient.
TEST(Layouts, Fp8Activations) {
  HostGroup world = HostGroup::world(), self = HostGroup::self();
  if (world.size() > 2) return;
  std::vector<Layout> list;
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full})
    list.push_back({.mesh = {.pp = 2, .dp = 1}, .schedule = {"zb1"}, .recompute = recompute});
  list.push_back({.mesh = {.pp = 2, .dp = 1}, .schedule = {"dualpipev"}});
  list.push_back({.mesh = {.dp = 1, .tp = 2}});
  list.push_back({.mesh = {.dp = 1, .tp = 2}, .recompute = Recompute::selective});
  list.push_back({.mesh = {.dp = 1, .cp = 2}, .recompute = Recompute::selective});
  for (const Layout& layout : list) {
    const MeshShape& m = layout.mesh;
    if (m.pp * m.cp * m.tp != world.size()) continue;
    SCOPED_TRACE(fmt::format("{}: pp {} cp {} tp {}", layout.schedule.name, m.pp, m.cp, m.tp));
    Job cut(world, layout, testing::fp8_config(), {.dtype = DType::f32});
    Job alone(self, {.mesh = {}, .recompute = layout.recompute}, testing::fp8_config(), {.dtype = DType::f32});
    for (std::int64_t step = 1; step <= 2; ++step) {
      const StepResult a = cut.run(step), b = alone.run(step);
      const bool same = m.pp > 1;
      EXPECT_NEAR(a.loss, b.loss, (step > 1 ? 0.02 : same ? 0.0 : 0.005) * b.loss) << "step " << step;
      if (step > 1) continue;
      EXPECT_NEAR(a.grad_norm, b.grad_norm, (same ? 1e-6 : 0.05) * b.grad_norm);
    }
  }
}

// Promise: a feed-forward network cut over tp, whose input is kept in FP8 and gathered again for backward, has the
// weight gradients of the whole one to the last bit where the cut is between tiles.
TEST(Layouts, Fp8InputsAreGatheredAgain) {
  const HostGroup world = HostGroup::world();
  if (world.size() != 2) return;
  const std::int64_t tokens = 96, dim = 144, inter = 256;
  const auto ops = make_backend("cpu");
  const auto compute = ops->make_stream();
  ProcessMesh mesh(world, MeshShape{.dp = 1, .tp = 2}, *ops);
  const MicroBatch batch;
  ExecContext ctx{*ops, *compute, *compute, batch, DType::f32};
  const std::int64_t first = mesh.coord(Axis::tp) * tokens / 2;
  const auto numbers = [&](std::uint64_t seed) {
    const Philox random(seed, RandomPurpose::test, 0);
    std::vector<double> values(static_cast<std::size_t>(tokens * dim));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(random.word64(i)) * 0x1p-63 - 1.0;
    return testing::tensor_of(*ops, values, {tokens, dim}, DType::f32, *compute);
  };
  const Tensor x_TD = numbers(1), dy_TD = numbers(2);
  for (const Recompute recompute : {Recompute::none, Recompute::selective}) {
    ctx.recompute = recompute;
    SwiGlu whole("ffn", DType::f32, dim, inter, 0.1);
    SwiGlu cut("ffn", DType::f32, dim, inter, 0.1, ParallelRanks(&mesh.along(Axis::tp), nullptr));
    ParameterStore whole_store(*ops, whole.parameters(), {}, *compute), cut_store(*ops, cut.parameters(), {}, *compute);
    for (ParameterStore* store : {&whole_store, &cut_store}) store->initialize(1, *compute);
    const auto train = [&](SwiGlu& ffn, const Tensor& x, const Tensor& dy) {
      ffn.use_fp8(KeptInputs::fp8);
      SwiGlu::Saved saved;
      (void)ffn.forward(ctx, x, saved);
      (void)ffn.backward_input(ctx, dy, saved);
      ffn.backward_weight(ctx, saved);
    };
    train(whole, x_TD, dy_TD);
    train(cut, x_TD.rows(first, first + tokens / 2), dy_TD.rows(first, first + tokens / 2));
    for (std::size_t i = 0; i < 2; ++i) {  // w_gate and w_up, whose rows are cut
      const Parameter &mine = *cut.parameters()[i], &all = *whole.parameters()[i];
      const std::int64_t row = mine.spec.offset[0];
      EXPECT_EQ(values_of(*ops, mine.grad, *compute), values_of(*ops, all.grad.rows(row, row + inter / 2), *compute))
          << mine.name();
    }
  }
}

// Asked to give up on one rank, before any micro-batch, all ranks throw and hold what they held before the step.
TEST(Layouts, StepsGivenUp) {
  HostGroup world = HostGroup::world();
  auto layouts = pipeline_layouts();
  for (const auto& list : {layer_layouts(), expert_layouts()}) layouts.insert(layouts.end(), list.begin(), list.end());
  for (const Layout& layout : layouts) {
    const MeshShape& m = layout.mesh;
    if (m.pp * m.dp * m.cp * m.tp != world.size()) continue;
    const auto micro_batches = static_cast<int>(kSequences / m.dp);
    for (const int asker : {0, world.size() - 1})
      for (int before = 0; before < micro_batches; ++before) {
        SCOPED_TRACE(fmt::format("{}: pp {} dp {} cp {} tp {} ep {}, rank {} before micro-batch {}",
                                 layout.schedule.name, m.pp, m.dp, m.cp, m.tp, m.ep, asker, before));
        Job job(world, layout, experts_config(), {});
        job.run(1);
        const auto weights = [&] {
          std::vector<std::vector<double>> list;
          for (const auto& [name, parameter] : job.by_name())
            list.push_back(values_of(*job.ops, parameter->weight, *job.compute));
          return list;
        };
        const auto held = weights();
        const std::string state = job.step.state();
        int asked = 0;
        EXPECT_THROW(job.run(2, [&] { return asked++ == before && world.rank() == asker; }), Interrupted);
        EXPECT_LE(asked, world.rank() == asker ? before + 1 : micro_batches);
        EXPECT_EQ(weights(), held);
        EXPECT_EQ(job.step.state(), state);
      }
  }
}

// Documents that are kept apart stay so where a sequence is cut.
TEST(Layouts, IsolatedDocuments) {
  for (const Layout& layout : layer_layouts()) expect_equal(layout, experts_config(), true);
}

}  // namespace
}  // namespace athanor
