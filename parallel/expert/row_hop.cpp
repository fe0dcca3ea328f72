#include "parallel/expert/row_hop.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "parallel/expert/indices.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

std::int64_t total(const std::vector<std::int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

/// Pairs are numbered in i32 on the device.
void check_pairs(std::int64_t rows, std::int64_t top_k) {
  if (rows * top_k > std::numeric_limits<std::int32_t>::max())
    throw Error("expert dispatch: " + std::to_string(rows) + " rows of " + std::to_string(top_k) +
                " experts on one rank; wanted fewer than 2^31 pairs; use a smaller micro-batch");
}

}  // namespace

RowHop::RowHop(Communicator& comm, const NodeMap& nodes, Reach reach, std::int64_t slots_per_rank, Backend& ops,
               Stream& travel)
    : comm_(comm),
      nodes_(nodes),
      is_last_(reach != Reach::to_node),
      slots_per_rank_(slots_per_rank),
      travel_(travel),
      ready_(ops.make_event()),
      arrived_(ops.make_event()) {
  const int me = comm.rank(), ranks = comm.size();
  const auto count = u(ranks);
  target_of_rank_.resize(count);
  count_to_.assign(count, 0);
  count_from_.assign(count, 0);
  for (int rank = 0; rank < ranks; ++rank) {
    const bool mine = nodes.node_of(rank) == nodes.node_of(me);
    const auto at = u(rank);
    target_of_rank_[at] = reach == Reach::to_node           ? nodes.relay(me, nodes.node_of(rank))
                          : reach == Reach::to_rank || mine ? rank
                                                            : -1;
    if (target_of_rank_[at] >= 0) count_to_[u(target_of_rank_[at])] = 1;
    count_from_[at] = reach == Reach::to_node   ? nodes.relay(rank, nodes.node_of(me)) == me
                      : reach == Reach::to_rank ? 1
                                                : mine;
  }
  max_destinations_ = total(count_to_);
  num_sources_ = total(count_from_);
  for (auto* counts : {&rows_to_, &pairs_to_, &next_to_, &last_row_}) counts->resize(count);
  on_their_way_.reserve(4);
}

std::int64_t RowHop::arrivals(const DispatchHandle::Hop& hop) { return total(hop.recv_rows); }

/// Counts rows for every target, then writes who leaves as which row: by target, then in the order of the rows here.
void RowHop::plan(std::span<const std::int32_t> slots_TK, std::int64_t top_k) {
  const auto tokens = static_cast<std::int64_t>(slots_TK.size()) / top_k;
  const std::int64_t width = std::min(top_k, max_destinations_);
  const auto target_of = [&](std::int32_t slot) {
    const int target = target_of_rank_[u(slot / slots_per_rank_)];
    if (target < 0) throw Error("expert dispatch: slot " + std::to_string(slot) + " is not on this node");
    return u(target);
  };
  for (auto* counts : {&rows_to_, &pairs_to_}) std::fill(counts->begin(), counts->end(), 0);
  std::fill(last_row_.begin(), last_row_.end(), -1);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t k = 0; k < top_k; ++k) {
      const std::int32_t slot = slots_TK[u(t * top_k + k)];
      if (slot < 0) continue;
      const std::size_t target = target_of(slot);
      ++pairs_to_[target];
      if (last_row_[target] != t) ++rows_to_[target];
      last_row_[target] = t;
    }

  std::exclusive_scan(rows_to_.begin(), rows_to_.end(), next_to_.begin(), std::int64_t{0});
  const std::int64_t rows = total(rows_to_);
  check_pairs(rows, top_k);
  token_of_S_.resize(u(rows));
  slots_SK_.assign(u(rows * top_k), -1);
  sent_row_of_TN_.assign(u(tokens * width), -1);
  std::fill(last_row_.begin(), last_row_.end(), -1);
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::int64_t destinations = 0;
    for (std::int64_t k = 0; k < top_k; ++k) {
      const std::int32_t slot = slots_TK[u(t * top_k + k)];
      if (slot < 0) continue;
      const std::size_t target = target_of(slot);
      if (last_row_[target] != t) {
        const std::int64_t row = next_to_[target]++;
        token_of_S_[u(row)] = static_cast<std::int32_t>(t);
        sent_row_of_TN_[u(t * width + destinations++)] = static_cast<std::int32_t>(row);
        last_row_[target] = t;
      }
      const std::int64_t row = next_to_[target] - 1;
      slots_SK_[u(row * top_k + k)] = is_last_ ? static_cast<std::int32_t>(slot % slots_per_rank_) : slot;
    }
  }
}

/// Tells every target how many rows and pairs come. @returns the pairs that come here.
std::int64_t RowHop::exchange_counts(ExecContext& ctx, DispatchHandle::Hop& hop) {
  hop.send_rows.assign(rows_to_.begin(), rows_to_.end());
  counts_out_.clear();
  for (std::size_t rank = 0; rank < rows_to_.size(); ++rank)
    if (count_to_[rank] != 0) counts_out_.insert(counts_out_.end(), {rows_to_[rank], pairs_to_[rank]});
  counts_in_.resize(u(2 * num_sources_));
  const Tensor out = upload_vector<std::int64_t>(ctx.ops, counts_out_, {max_destinations_, 2}, ctx.compute);
  const Tensor in = ctx.ops.empty({num_sources_, 2}, DType::i64);
  comm_.all_to_all_v(in, count_from_, out, count_to_, ctx.compute);
  ctx.ops.download(std::as_writable_bytes(std::span(counts_in_)), in, ctx.compute);
  ctx.compute.synchronize();

  hop.recv_rows.assign(rows_to_.size(), 0);
  std::int64_t pairs = 0;
  std::size_t source = 0;
  for (std::size_t rank = 0; rank < rows_to_.size(); ++rank)
    if (count_from_[rank] != 0) {
      hop.recv_rows[rank] = counts_in_[2 * source];
      pairs += counts_in_[2 * source + 1];
      ++source;
    }
  return pairs;
}

RowHop::Arrivals RowHop::dispatch(ExecContext& ctx, const Tensor& x_TP, std::span<const std::int32_t> slots_TK,
                                  const Tensor& weights_TK, DispatchHandle::Hop& hop, Traffic& traffic) {
  const std::int64_t tokens = x_TP.dim(0), top_k = weights_TK.dim(1);
  plan(slots_TK, top_k);
  const auto rows = static_cast<std::int64_t>(token_of_S_.size());
  hop.token_of_S = upload_vector<std::int32_t>(ctx.ops, token_of_S_, {rows}, ctx.compute);
  hop.sent_row_of_TN =
      upload_vector<std::int32_t>(ctx.ops, sent_row_of_TN_, {tokens, std::min(top_k, max_destinations_)}, ctx.compute);
  const Tensor ids_SK = upload_vector<std::int32_t>(ctx.ops, slots_SK_, {rows, top_k}, ctx.compute);

  Arrivals arrived;
  arrived.pairs = exchange_counts(ctx, hop);
  check_pairs(arrivals(hop), top_k);
  const Tensor x_SP = gathered(ctx, x_TP, hop), weights_SK = gathered(ctx, weights_TK, hop);
  arrived.x_CP = ctx.ops.empty({arrivals(hop), x_TP.dim(1)}, x_TP.dtype());
  arrived.weights_CK = ctx.ops.empty({arrivals(hop), top_k}, weights_TK.dtype());
  arrived.ids_CK = ctx.ops.empty({arrivals(hop), top_k}, DType::i32);
  leave(ctx);
  travel(arrived.x_CP, x_SP, hop);
  travel(arrived.weights_CK, weights_SK, hop);
  travel(arrived.ids_CK, ids_SK, hop);
  travel_.record(*arrived_);
  const auto pair_bytes = static_cast<std::int64_t>(size_bytes(DType::i32) + size_bytes(weights_TK.dtype()));
  count_traffic(x_TP.dim(1) * static_cast<std::int64_t>(size_bytes(x_TP.dtype())) + top_k * pair_bytes, traffic);
  return arrived;
}

void RowHop::count_traffic(std::int64_t bytes_per_row, Traffic& traffic) const {
  const int me = comm_.rank();
  for (int rank = 0; rank < comm_.size(); ++rank) {
    if (rank == me) continue;
    const std::int64_t rows = rows_to_[u(rank)];
    const bool within = nodes_.node_of(rank) == nodes_.node_of(me);
    (within ? traffic.rows_within_node : traffic.rows_across_nodes) += rows;
    (within ? traffic.bytes_within_node : traffic.bytes_across_nodes) += rows * bytes_per_row;
  }
}

Tensor RowHop::gathered(ExecContext& ctx, const Tensor& x_TP, const DispatchHandle::Hop& hop) {
  Tensor x_SP = ctx.ops.empty({hop.token_of_S.numel(), x_TP.dim(1)}, x_TP.dtype());
  ctx.ops.gather_rows(x_SP, x_TP, hop.token_of_S, ctx.compute);
  return x_SP;
}

/// Rows that are gathered, and memory for those that come, are the other stream's from here on.
void RowHop::leave(ExecContext& ctx) {
  ctx.compute.record(*ready_);
  travel_.wait(*ready_);
}

void RowHop::travel(const Tensor& x_CP, const Tensor& x_SP, const DispatchHandle::Hop& hop) {
  comm_.all_to_all_v(x_CP, hop.recv_rows, x_SP, hop.send_rows, travel_);
  on_their_way_.push_back(x_SP);
}

Tensor RowHop::send(ExecContext& ctx, const Tensor& x_TP, const DispatchHandle::Hop& hop) {
  const Tensor x_SP = gathered(ctx, x_TP, hop);
  Tensor x_CP = ctx.ops.empty({arrivals(hop), x_TP.dim(1)}, x_TP.dtype());
  leave(ctx);
  travel(x_CP, x_SP, hop);
  travel_.record(*arrived_);
  return x_CP;
}

/// Taken after leave(): nothing was given to the caller's stream since, so memory that it used before is free by then.
Tensor RowHop::send_back(ExecContext& ctx, const Tensor& y_CD, const DispatchHandle::Hop& hop) {
  Tensor y_SD = ctx.ops.empty({hop.token_of_S.numel(), y_CD.dim(1)}, y_CD.dtype());
  comm_.all_to_all_v(y_SD, hop.send_rows, y_CD, hop.recv_rows, travel_);
  on_their_way_.push_back(y_CD);
  return y_SD;
}

void RowHop::sum(ExecContext& ctx, Tensor y_TD, const Tensor& y_SD, const DispatchHandle::Hop& hop, bool accumulate) {
  ctx.ops.unpermute_rows(y_TD, y_SD, hop.sent_row_of_TN, Tensor{}, accumulate, ctx.compute);
}

Tensor RowHop::sum_on_the_way(ExecContext& ctx, const Tensor& y_SD, const DispatchHandle::Hop& hop) {
  Tensor y_TD = ctx.ops.empty({hop.sent_row_of_TN.dim(0), y_SD.dim(1)}, y_SD.dtype());
  ctx.ops.unpermute_rows(y_TD, y_SD, hop.sent_row_of_TN, Tensor{}, false, travel_);
  on_their_way_.push_back(y_SD);
  return y_TD;
}

void RowHop::arrive(ExecContext& ctx) {
  ctx.compute.wait(*arrived_);
  // Memory is used again in the order of the caller's stream, which now comes after the journey.
  let_go();
}

}  // namespace athanor
