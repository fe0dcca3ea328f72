// Every layout of the ranks trains like one rank: losses over 10 optimizer steps and all weights afterwards, in f64,
// for a tiny DeepSeek-V3 (MLA with compressed queries, shared and routed experts, balance loss, MTP) and a dense model
// with grouped queries and a tied head.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "io/dataset/micro_batch_builder.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/train_step.hpp"
#include "tests/parallel/tensor_values.hpp"

namespace athanor {
namespace {

using testing::values_of;

constexpr std::int64_t kSequences = 8, kLength = 16;  // of the global batch

ModelConfig experts_config() {
  ModelConfig config;
  config.vocab_size = 32;
  config.dim = 16;
  config.num_layers = 4;
  config.max_positions = 16;
  config.init_std = 0.08;
  config.num_heads = 4;
  config.q_lora_rank = 8;
  config.kv_lora_rank = 8;
  config.qk_nope_head_dim = config.qk_rope_head_dim = config.v_head_dim = 4;
  config.inter_dim = 24;
  config.num_routed_experts = 8;
  config.experts_per_token = 2;
  config.num_expert_groups = 4;
  config.num_limited_groups = 2;
  config.moe_inter_dim = 8;
  config.balance_loss_alpha = 1e-2;
  config.mtp_depth = 1;
  return config;
}

ModelConfig dense_config() {
  ModelConfig config;
  config.vocab_size = 32;
  config.dim = 16;
  config.num_layers = 4;
  config.max_positions = 16;
  config.init_std = 0.08;
  config.tied_head = true;
  config.attention = AttentionKind::gqa;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 4;
  config.qkv_bias = config.qk_norm = true;
  config.rope_interleaved = false;
  config.inter_dim = 24;
  return config;
}

struct Layout {
  MeshShape mesh;
  std::int64_t micro_batch_sequences = 1;
  std::int64_t ranks_per_node = 0;
  SchedulePlan schedule = {};
  std::vector<std::int64_t> layer_split = {};
  Recompute recompute = Recompute::none;
};

/// A model and all that trains it on a layout of `group`'s ranks.
struct Job {
  Job(const HostGroup& group, const Layout& layout, const ModelConfig& model_config, bool isolate = false)
      : config(model_config),
        ops(make_backend("cpu")),
        compute(ops->make_stream()),
        comm(ops->make_stream()),
        mesh(group, layout.mesh, *ops, true),
        micro_batch_sequences(layout.micro_batch_sequences),
        batch_layout{.sequence_length = kLength,
                     .vocab_size = config.vocab_size,
                     .mtp_depth = config.mtp_depth,
                     .isolate_documents = isolate,
                     .eos_id = 3,
                     .acc = DType::f64,
                     .cp_rank = mesh.coord(Axis::cp),
                     .cp_size = mesh.size(Axis::cp)},
        builder(*ops, batch_layout),
        model(*ops, mesh,
              {.config = config,
               .dtype = DType::f64,
               .chunk_rank = layout.schedule.chunk_rank(mesh.size(Axis::pp)),
               .layer_split = layout.layer_split,
               .ranks_per_node = layout.ranks_per_node},
              *compute),
        store(*ops, model.parameters(), {.pad_elements = ReductionRanks(mesh).bucket_pad(), .bucket_elements = 500},
              *compute),
        step(*ops, model.chunks(), store, mesh, options(), DType::f64, *compute, *comm, layout.schedule, config.dim,
             layout.recompute) {
    store.initialize(5, *compute);
    step.start();
  }

  static OptimizerOptions options() {
    OptimizerOptions options;
    options.adamw.clip_norm = 0.5;
    return options;
  }

  StepResult run(std::int64_t number) {
    const std::int64_t share = kSequences / mesh.size(Axis::dp), first = share * mesh.coord(Axis::dp);
    std::vector<MicroBatch> batches;
    std::int64_t targets = kSequences * kLength;
    for (int pass = batch_layout.isolate_documents ? 0 : 1; pass < 2; ++pass) {
      std::int64_t counted = 0;
      for (std::int64_t at = 0; at < share; at += micro_batch_sequences) {
        fill_rows(number, first + at);
        counted += builder.count_targets();
        if (pass == 0) continue;
        batches.emplace_back();
        builder.build(batches.back(),
                      {.per_target = 1.0 / static_cast<double>(targets), .mtp = 0.3, .per_sequence = 1.0 / kSequences},
                      *compute);
      }
      if (pass == 0) targets = mesh.host(Axis::dp).sum(counted);
    }
    return step.run({.step = number, .lr = 5e-3, .bias_speed = 1e-2}, batches);
  }
  void fill_rows(std::int64_t number, std::int64_t first) {
    const auto rows = builder.rows(micro_batch_sequences);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto sequence = static_cast<std::uint64_t>(first) + i / (kLength + 1);
      const std::uint64_t position = i % (kLength + 1);
      const Philox random(11, RandomPurpose::test, static_cast<std::uint64_t>(number) * kSequences + sequence);
      // A text with a rule to learn: every third token repeats the one before.
      rows[i] = static_cast<std::int32_t>(random.word64(position % 3 == 2 ? position - 1 : position) %
                                          static_cast<std::uint64_t>(config.vocab_size));
    }
  }
  std::map<std::string, const Parameter*> by_name() {
    std::map<std::string, const Parameter*> map;
    for (const Parameter* parameter : store.parameters()) map[parameter->name()] = parameter;
    return map;
  }

  ModelConfig config;
  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> compute, comm;
  ProcessMesh mesh;
  std::int64_t micro_batch_sequences;
  BatchLayout batch_layout;
  MicroBatchBuilder builder;
  MeshModel model;
  ParameterStore store;
  TrainStep step;
};

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
  Job cut(world, layout, config, isolate), alone(self, {.mesh = {}, .micro_batch_sequences = 4}, config, isolate);
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

// Documents that are kept apart stay so where a sequence is cut.
TEST(Layouts, IsolatedDocuments) {
  for (const Layout& layout : layer_layouts()) expect_equal(layout, experts_config(), true);
}

}  // namespace
}  // namespace athanor
