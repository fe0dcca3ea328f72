#include "parallel/mesh_model.hpp"

#include <fmt/format.h>

#include "parallel/expert/all_to_all_dispatcher.hpp"
#include "parallel/plan/layout_plan.hpp"
#include "src/base/error.hpp"

namespace athanor {

namespace {

/// Node-limited routing bounds the messages between machines only where a group of experts lies on one of them.
std::string spread_groups(const ModelConfig& config, const ExpertPlacement& placement, const NodeMap& nodes) {
  const RouterArgs router{.num_experts = config.num_routed_experts,
                          .top_k = config.experts_per_token,
                          .num_groups = config.num_expert_groups,
                          .num_limited_groups = config.num_limited_groups};
  try {
    check_groups_fit_nodes(router, placement, nodes);
    return {};
  } catch (const ConfigError& spread) {
    return spread.what();
  }
}

}  // namespace

MeshModel::MeshModel(Backend& ops, ProcessMesh& mesh, const MeshModelOptions& options, Stream& stream)
    : options_(options), mesh_(mesh) {
  const ModelConfig& config = options_.config;
  config.validate();
  const MeshShape& shape = mesh.shape();
  LayoutSizes{.tp = shape.tp, .cp = shape.cp, .dp = shape.dp, .ep = shape.ep}.validate(config);
  if (options_.chunk_rank.empty())
    for (int rank = 0; rank < mesh.size(Axis::pp); ++rank) options_.chunk_rank.push_back(rank);
  const std::vector<int>& chunk_rank = options_.chunk_rank;
  num_chunks_ = static_cast<int>(chunk_rank.size());
  const std::vector<ModelPart> pieces = split_layers(config, num_chunks_, options_.layer_split);

  std::unique_ptr<NodeMap> nodes;
  ExpertPlacement placement;
  if (mesh.size(Axis::ep) > 1) {
    nodes = std::make_unique<NodeMap>(
        NodeMap::gather(mesh.host(Axis::ep), mesh.coord(Axis::world), options_.ranks_per_node));
    placement = ExpertPlacement::contiguous(config.num_routed_experts, mesh.size(Axis::ep));
    warning_ = spread_groups(config, placement, *nodes);
    expert_rows_ = ops.make_stream();
  }
  const bool embedding_is_shared =
      chunk_rank.front() != chunk_rank.back() && (config.head_is_embedding() || config.mtp_depth > 0);
  Transformer* embedding_of = nullptr;
  for (int chunk = 0; chunk < num_chunks_; ++chunk) {
    if (chunk_rank[static_cast<std::size_t>(chunk)] != mesh.coord(Axis::pp)) continue;
    Transformer::Options part;
    part.ranks = ParallelRanks(&mesh.along(Axis::tp), &mesh.along(Axis::cp));
    if (nodes)
      part.make_dispatcher = [&](const std::string& layer) {
        const auto placed = options_.placements.find(layer);
        const ExpertPlacement& chosen = placed == options_.placements.end() ? placement : placed->second;
        return std::make_unique<AllToAllDispatcher>(mesh.along(Axis::ep), *nodes, chosen, ops, *expert_rows_);
      };
    part.embedding_of = embedding_of;
    part.embedding_is_shared = embedding_is_shared;
    chunk_ids_.push_back(chunk);
    parts_.push_back(std::make_unique<Transformer>(ops, config, options_.dtype, stream,
                                                   pieces[static_cast<std::size_t>(chunk)], std::move(part)));
    if (parts_.back()->part().has_embedding) embedding_of = parts_.back().get();
  }
  if (parts_.empty())
    throw ConfigError(fmt::format("pipeline rank {} owns none of the {} chunks", mesh.coord(Axis::pp), num_chunks_));
}

std::vector<ModelChunk*> MeshModel::chunks() const {
  std::vector<ModelChunk*> list(static_cast<std::size_t>(num_chunks_), nullptr);
  for (std::size_t i = 0; i < parts_.size(); ++i) list[static_cast<std::size_t>(chunk_ids_[i])] = parts_[i].get();
  return list;
}

std::vector<Parameter*> MeshModel::parameters() const {
  std::vector<Parameter*> list;
  for (const auto& part : parts_)
    for (Parameter* parameter : part->parameters()) list.push_back(parameter);
  return list;
}

std::vector<StateTensor*> MeshModel::states() const {
  std::vector<StateTensor*> list;
  for (const auto& part : parts_)
    for (StateTensor* state : part->states()) list.push_back(state);
  return list;
}

template <class F>
Tensor MeshModel::through_pipeline(ExecContext& ctx, const Shape& activations, const F& f) {
  Communicator& pp = mesh_.along(Axis::pp);
  const auto rank_of = [&](int chunk) { return options_.chunk_rank[static_cast<std::size_t>(chunk)]; };
  const auto pass = [&](Communicator::P2p::Kind kind, const Tensor& x_TD, int peer) {
    const Communicator::P2p message{kind, x_TD, peer};
    pp.exchange({&message, 1}, ctx.compute);
  };
  // Chunk by chunk: every rank sends what it has before it waits for more, in the order of the whole pipeline.
  Tensor x_TD;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const int chunk = chunk_ids_[i];
    if (chunk > 0 && rank_of(chunk - 1) != pp.rank()) {
      x_TD = ctx.empty(activations);
      pass(Communicator::P2p::Kind::recv, x_TD, rank_of(chunk - 1));
    }
    x_TD = f(i, x_TD);
    if (chunk + 1 < num_chunks_ && rank_of(chunk + 1) != pp.rank()) {
      pass(Communicator::P2p::Kind::send, x_TD, rank_of(chunk + 1));
      x_TD = Tensor{};
    }
  }
  return x_TD;
}

Tensor MeshModel::token_losses(ExecContext& ctx) {
  parts_.front()->require_head("token_losses", HeadKind::tokens);
  return evaluate(ctx);
}

Tensor MeshModel::values(ExecContext& ctx) {
  parts_.front()->require_head("values", HeadKind::scalar);
  return evaluate(ctx);
}

Tensor MeshModel::evaluate(ExecContext& ctx) {
  return through_pipeline(ctx, {ctx.batch.tokens_T.dim(0) / mesh_.size(Axis::tp), config().dim},
                          [&](std::size_t i, const Tensor& x_TD) { return parts_[i]->evaluate(ctx, x_TD); });
}

Tensor MeshModel::hidden(ExecContext& ctx) {
  return through_pipeline(ctx, {ctx.batch.tokens_T.dim(0) / mesh_.size(Axis::tp), config().dim},
                          [&](std::size_t i, const Tensor& x_TD) { return parts_[i]->hidden(ctx, x_TD); });
}

Tensor MeshModel::decode(ExecContext& ctx, const DecodeRows& rows, std::span<KvCache> caches) {
  return through_pipeline(ctx, {rows.tokens_R.dim(0), config().dim}, [&](std::size_t i, const Tensor& x_RD) {
    return parts_[i]->decode(ctx, rows, caches[i], x_RD);
  });
}

std::vector<KvCache> MeshModel::make_caches(Backend& ops, std::int64_t num_pages, std::int64_t page_rows,
                                            CacheForm form) const {
  std::vector<KvCache> caches;
  for (const auto& part : parts_) caches.push_back(part->make_cache(ops, num_pages, page_rows, form));
  return caches;
}

std::map<std::string, std::vector<std::int64_t>> MeshModel::expert_loads(Backend& ops, Stream& stream) {
  std::map<std::string, std::vector<std::int64_t>> loads;
  Transformer& model = whole();
  const auto layers = model.expert_layers();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    auto& counts = loads[layers[i]];
    counts.resize(static_cast<std::size_t>(config().num_routed_experts));
    ops.download(std::as_writable_bytes(std::span(counts)), model.sums().expert_counts_E[i], stream);
  }
  stream.synchronize();
  for (auto& [layer, counts] : loads) mesh_.host(Axis::layer).sum(std::span<std::int64_t>(counts));
  return loads;
}

Transformer& MeshModel::whole() const {
  if (num_chunks_ != 1)
    throw Error(fmt::format("the whole model was asked for, but it is cut into {} chunks", num_chunks_));
  return *parts_.front();
}

Transformer* MeshModel::last() const { return parts_.back()->part().has_head ? parts_.back().get() : nullptr; }

std::string MeshModel::first_nonfinite(ExecContext& ctx) const {
  if (num_chunks_ == 1)
    if (const std::string layer = whole().first_nonfinite_layer(ctx); !layer.empty()) return layer;
  for (const auto& part : parts_)
    if (const std::string parameter = part->first_nonfinite_parameter(ctx); !parameter.empty()) return parameter;
  return {};
}

}  // namespace athanor
