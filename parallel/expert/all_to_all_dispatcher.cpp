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
  handle.tokens = x_TD.dim(0);
  download_ids(ctx, routing.expert_ids_TK);
  choose_copies(routing.expert_ids_TK.dim(1));
  arriving_ =
      hops_[0].dispatch(ctx, rows_to_send(ctx, x_TD, handle), slots_TK_, routing.weights_TK, handle.hops[0], traffic_);
}

Activation AllToAllDispatcher::finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing&,
                                               DispatchHandle& handle) {
  RowHop::Arrivals arrived = std::exchange(arriving_, {});
  hops_[0].arrive(ctx);
  for (std::size_t h = 1; h < hops_.size(); ++h) {
    download_ids(ctx, arrived.ids_CK);
    arrived = hops_[h].dispatch(ctx, arrived.x_CP, slots_TK_, arrived.weights_CK, handle.hops[h], traffic_);
    hops_[h].arrive(ctx);
  }
  handle.weights_CK = arrived.weights_CK;
  return rows_of_experts(ctx, arrived.x_CP, x_TD, arrived.ids_CK, arrived.pairs, placement_.slots_per_rank(), handle);
}

void AllToAllDispatcher::start_combine(ExecContext& ctx, Tensor y_RD, const Routing&, const DispatchHandle& handle) {
  const Tensor y_CD = ctx.ops.empty({handle.row_of_TK.dim(0), y_RD.dim(1)}, y_RD.dtype());
  ctx.ops.unpermute_rows(y_CD, y_RD, handle.row_of_TK, handle.weights_CK, false, ctx.compute);
  hops_.back().leave(ctx);
  returning_SD_ = send_back(ctx, y_CD, handle);
  hops_[0].mark_arrival();
}

void AllToAllDispatcher::finish_combine(ExecContext& ctx, Tensor y_TD, bool accumulate, const Routing&,
                                        const DispatchHandle& handle) {
  come_back(ctx);
  hops_[0].sum(ctx, std::move(y_TD), std::exchange(returning_SD_, {}), handle.hops[0], accumulate);
}

void AllToAllDispatcher::start_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const DispatchHandle& handle) {
  arriving_.x_CP = hops_[0].send(ctx, rows_to_send(ctx, dy_TD, handle), handle.hops[0]);
}

ExpertDispatcher::RowGradients AllToAllDispatcher::finish_combine_backward(ExecContext& ctx, const Tensor&,
                                                                           const Tensor& y_RD, const Routing&,
                                                                           const DispatchHandle& handle) {
  Tensor dy_CP = std::exchange(arriving_.x_CP, Tensor{});
  hops_[0].arrive(ctx);
  for (std::size_t h = 1; h < hops_.size(); ++h) {
    dy_CP = hops_[h].send(ctx, dy_CP, handle.hops[h]);
    hops_[h].arrive(ctx);
  }
  return row_gradients(ctx, dy_CP, y_RD, handle.weights_CK, handle);
}

void AllToAllDispatcher::start_dispatch_backward(ExecContext& ctx, Tensor dx_RD, Tensor dweights_CK,
                                                 const DispatchHandle& handle) {
  const Tensor dx_CD = ctx.ops.empty({handle.row_of_TK.dim(0), dx_RD.dim(1)}, dx_RD.dtype());
  ctx.ops.unpermute_rows(dx_CD, dx_RD, handle.row_of_TK, Tensor{}, false, ctx.compute);
  dx_RD = Tensor{};  // room for what comes back
  hops_.back().leave(ctx);
  dweights_SK_ = send_back(ctx, std::move(dweights_CK), handle);
  returning_SD_ = send_back(ctx, dx_CD, handle);
  hops_[0].mark_arrival();
}

Tensor AllToAllDispatcher::finish_dispatch_backward(ExecContext& ctx, Tensor dx_TD, bool accumulate,
                                                    const DispatchHandle& handle) {
  come_back(ctx);
  const DispatchHandle::Hop& hop = handle.hops[0];
  Tensor dweights_TK = ctx.ops.empty({handle.tokens, dweights_SK_.dim(1)}, dweights_SK_.dtype());
  hops_[0].sum(ctx, dweights_TK, std::exchange(dweights_SK_, {}), hop, false);
  hops_[0].sum(ctx, std::move(dx_TD), std::exchange(returning_SD_, {}), hop, accumulate);
  return dweights_TK;
}

Tensor AllToAllDispatcher::send_back(ExecContext& ctx, Tensor y_CD, const DispatchHandle& handle) {
  for (std::size_t h = hops_.size(); h-- > 0;) {
    y_CD = hops_[h].send_back(ctx, y_CD, handle.hops[h]);
    if (h > 0) y_CD = hops_[h].sum_on_the_way(ctx, y_CD, handle.hops[h]);
  }
  return y_CD;
}

void AllToAllDispatcher::come_back(ExecContext& ctx) {
  hops_[0].arrive(ctx);
  for (std::size_t h = 1; h < hops_.size(); ++h) hops_[h].let_go();
}

}  // namespace athanor
