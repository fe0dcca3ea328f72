// A tiny model in training on a layout of some ranks, for tests that compare layouts: the same weights, the same global
// batch, whatever the mesh.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/dataset/micro_batch_builder.hpp"
#include "parallel/mesh_model.hpp"
#include "parallel/train_step.hpp"
#include "tests/parallel/tiny_models.hpp"

namespace athanor::testing {

constexpr std::int64_t kSequences = 8, kLength = 16;  // of the global batch

struct Layout {
  MeshShape mesh;
  std::int64_t micro_batch_sequences = 1;
  std::int64_t ranks_per_node = 0;
  SchedulePlan schedule = {};
  std::vector<std::int64_t> layer_split = {};
  Recompute recompute = Recompute::none;
};

struct JobKind {
  bool isolate_documents = false;
  DType dtype = DType::f64;
  bool bf16_moments = false;
};

/// A model and all that trains it on a layout of `group`'s ranks.
struct Job {
  Job(const HostGroup& group, const Layout& layout, const ModelConfig& model_config, const JobKind& kind = {})
      : config(model_config),
        ops(make_backend("cpu")),
        compute(ops->make_stream()),
        comm(ops->make_stream()),
        mesh(group, layout.mesh, *ops, true),
        micro_batch_sequences(layout.micro_batch_sequences),
        batch_layout{.sequence_length = kLength,
                     .vocab_size = config.vocab_size,
                     .mtp_depth = config.mtp_depth,
                     .isolate_documents = kind.isolate_documents,
                     .eos_id = 3,
                     .acc = accumulation_dtype(kind.dtype),
                     .cp_rank = mesh.coord(Axis::cp),
                     .cp_size = mesh.size(Axis::cp)},
        builder(*ops, batch_layout),
        model(*ops, mesh,
              {.config = config,
               .dtype = kind.dtype,
               .chunk_rank = layout.schedule.chunk_rank(mesh.size(Axis::pp)),
               .layer_split = layout.layer_split,
               .ranks_per_node = layout.ranks_per_node},
              *compute),
        store(*ops, model.parameters(), {.pad_elements = ReductionRanks(mesh).bucket_pad(), .bucket_elements = 500},
              *compute),
        step(*ops, model.chunks(), store, mesh, options(kind), kind.dtype, *compute, *comm, layout.schedule, config.dim,
             layout.recompute) {
    store.initialize(5, *compute);
    step.start();
  }

  static OptimizerOptions options(const JobKind& kind) {
    OptimizerOptions options;
    options.adamw.bf16_moments = kind.bf16_moments;
    options.adamw.clip_norm = 0.5;
    return options;
  }

  StepResult run(std::int64_t number, const std::function<bool()>& give_up = {}) {
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
    return step.run({.step = number, .lr = 5e-3, .bias_speed = 1e-2}, batches, give_up);
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

}  // namespace athanor::testing
