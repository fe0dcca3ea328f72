#include "parallel/expert/all_to_all_dispatcher.hpp"

#include <fmt/format.h>

#include <utility>

#include "src/base/error.hpp"

namespace athanor {

AllToAllDispatcher::AllToAllDispatcher(Communicator& comm, NodeMap nodes, ExpertPlacement placement, Backend& ops,
                                       Stream& travel)
    : comm_(comm), nodes_(std::move(nodes)), placement_(std::move(placement)) {
  placement_.validate();
  if (nodes_.ranks() != comm.size() || placement_.ranks != comm.size())
    throw ConfigError(fmt::format("expert parallelism: a group of {} ranks, nodes of {} and experts placed on {}",
                                  comm.size(), nodes_.ranks(), placement_.ranks));
  slots_of_E_ = placement_.logical_to_physical();
  const std::int64_t slots = placement_.slots_per_rank();
  if (nodes_.has_two_levels()) {
    hops_.emplace_back(comm_, nodes_, RowHop::Reach::to_node, slots, ops, travel);
    hops_.emplace_back(comm_, nodes_, RowHop::Reach::within_node, slots, ops, travel);
  } else {
    hops_.emplace_back(comm_, nodes_, RowHop::Reach::to_rank, slots, ops, travel);
  }
}

void AllToAllDispatcher::download_ids(ExecContext& ctx, const Tensor& ids) {
  slots_TK_.resize(static_cast<std::size_t>(ids.numel()));
  ctx.ops.download(std::as_writable_bytes(std::span(slots_TK_)), ids, ctx.compute);
  ctx.compute.synchronize();
}

/// Experts to slots.
void AllToAllDispatcher::choose_copies(std::int64_t top_k) {
  for (std::size_t pair = 0; pair < slots_TK_.size(); ++pair) {
    const std::int32_t expert = slots_TK_[pair];
    if (expert < 0 || expert >= placement_.num_experts)
      throw Error(fmt::format("expert dispatch: token {} is routed to expert {}; wanted one of {}",
                              pair / static_cast<std::size_t>(top_k), expert, placement_.num_experts));
    const auto& copies = slots_of_E_[static_cast<std::size_t>(expert)];
    slots_TK_[pair] = static_cast<std::int32_t>(copies[pair / static_cast<std::size_t>(top_k) % copies.size()]);
  }
}

void AllToAllDispatcher::start_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                                        DispatchHandle& handle) {
  traffic_ = Traffic{};
  download_ids(ctx, routing.expert_ids_TK);
  choose_copies(routing.expert_ids_TK.dim(1));
  arriving_ = hops_[0].dispatch(ctx, x_TD, slots_TK_, routing.weights_TK, handle.hops[0], traffic_);
}

Tensor AllToAllDispatcher::finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                                           DispatchHandle& handle) {
  const std::int64_t top_k = routing.expert_ids_TK.dim(1);
  RowHop::Arrivals arrived = std::exchange(arriving_, {});
  hops_[0].arrive(ctx);
  for (std::size_t h = 1; h < hops_.size(); ++h) {
    download_ids(ctx, arrived.ids_CK);
    arrived = hops_[h].dispatch(ctx, arrived.x_CD, slots_TK_, arrived.weights_CK, handle.hops[h], traffic_);
    hops_[h].arrive(ctx);
  }

  const std::int64_t rows = arrived.pairs;
  handle.weights_CK = arrived.weights_CK;
  handle.pair_of_R = ctx.ops.empty({rows}, DType::i32);
  handle.row_of_TK = ctx.ops.empty(arrived.ids_CK.shape(), DType::i32);
  handle.offsets_E1 = ctx.ops.empty({placement_.slots_per_rank() + 1}, DType::i32);
  ctx.ops.sort_by_expert(handle.pair_of_R, handle.row_of_TK, handle.offsets_E1, arrived.ids_CK, ctx.compute);
  Tensor x_RD = ctx.ops.empty({rows, x_TD.dim(1)}, x_TD.dtype());
  ctx.ops.permute_rows(x_RD, arrived.x_CD, handle.pair_of_R, top_k, ctx.compute);
  return x_RD;
}

Tensor AllToAllDispatcher::combine(ExecContext& ctx, const Tensor& y_RD, const Routing&, const DispatchHandle& handle) {
  const Tensor y_CD = ctx.ops.empty({handle.row_of_TK.dim(0), y_RD.dim(1)}, y_RD.dtype());
  ctx.ops.unpermute_rows(y_CD, y_RD, handle.row_of_TK, handle.weights_CK, ctx.compute);
  return sum_back(ctx, y_CD, handle);
}

void AllToAllDispatcher::start_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const DispatchHandle& handle) {
  arriving_.x_CD = hops_[0].send(ctx, dy_TD, handle.hops[0]);
}

Tensor AllToAllDispatcher::finish_combine_backward(ExecContext& ctx, const Tensor&, const Tensor& y_RD, const Routing&,
                                                   const DispatchHandle& handle, Tensor dweights_TK) {
  Tensor dy_CD = std::exchange(arriving_.x_CD, Tensor{});
  hops_[0].arrive(ctx);
  for (std::size_t h = 1; h < hops_.size(); ++h) {
    dy_CD = hops_[h].send(ctx, dy_CD, handle.hops[h]);
    hops_[h].arrive(ctx);
  }
  Tensor dy_RD = ctx.ops.empty(y_RD.shape(), y_RD.dtype());
  const Tensor dweights_CK = ctx.ops.empty(handle.weights_CK.shape(), handle.weights_CK.dtype());
  ctx.ops.unpermute_rows_backward(dy_RD, dweights_CK, dy_CD, y_RD, handle.row_of_TK, handle.weights_CK, ctx.compute);
  ctx.ops.copy(dweights_TK, sum_back(ctx, dweights_CK, handle), ctx.compute);
  return dy_RD;
}

Tensor AllToAllDispatcher::dispatch_backward(ExecContext& ctx, const Tensor& dx_RD, const DispatchHandle& handle) {
  const Tensor dx_CD = ctx.ops.empty({handle.row_of_TK.dim(0), dx_RD.dim(1)}, dx_RD.dtype());
  ctx.ops.unpermute_rows(dx_CD, dx_RD, handle.row_of_TK, Tensor{}, ctx.compute);
  return sum_back(ctx, dx_CD, handle);
}

Tensor AllToAllDispatcher::sum_back(ExecContext& ctx, Tensor y_CD, const DispatchHandle& handle) {
  for (std::size_t h = hops_.size(); h-- > 0;) {
    const DispatchHandle::Hop& hop = handle.hops[h];
    const Tensor y_TD = ctx.ops.empty({hop.sent_row_of_TP.dim(0), y_CD.dim(1)}, y_CD.dtype());
    hops_[h].sum_back(ctx, y_TD, y_CD, hop);
    y_CD = y_TD;
  }
  return y_CD;
}

}  // namespace athanor
