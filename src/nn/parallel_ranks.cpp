#include "src/nn/parallel_ranks.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

Tensor gathered(ExecContext& ctx, Communicator& ranks, const Tensor& x_TD) {
  Tensor whole = ctx.ops.empty({x_TD.dim(0) * ranks.size(), x_TD.dim(1)}, x_TD.dtype());
  ranks.all_gather(whole, x_TD, ctx.compute);
  return whole;
}

void require_whole_share(const Tensor& x_TD, int ranks, const char* axis) {
  if (x_TD.dim(0) % ranks != 0)
    throw ConfigError(
        fmt::format("a micro-batch of {} tokens cannot be cut over parallel.{} = {}; choose data.sequence_length and "
                    "data.micro_batch_sequences so that their product is a multiple of it",
                    x_TD.dim(0), axis, ranks));
}

Tensor summed_part(ExecContext& ctx, Communicator& ranks, const Tensor& partial_TD, const char* axis) {
  require_whole_share(partial_TD, ranks.size(), axis);
  Tensor part = ctx.ops.empty({partial_TD.dim(0) / ranks.size(), partial_TD.dim(1)}, partial_TD.dtype());
  ranks.reduce_scatter(part, partial_TD, ReduceOp::sum, ctx.compute);
  return part;
}

Tensor reordered(ExecContext& ctx, const Tensor& x_KD, const Tensor& order_K) {
  if (order_K.numel() != x_KD.dim(0))
    throw Error("context parallelism: the micro-batch has the order of " + order_K.to_string() + " rows for " +
                x_KD.to_string());
  Tensor result = ctx.ops.empty(x_KD.shape(), x_KD.dtype());
  ctx.ops.gather_rows(result, x_KD, order_K, ctx.compute);
  return result;
}

}  // namespace

Tensor ParallelRanks::gather(ExecContext& ctx, const Tensor& x_TD) const {
  return tp_ && !ctx.decoding ? gathered(ctx, *tp_, x_TD) : x_TD;
}

Tensor ParallelRanks::sum_scatter(ExecContext& ctx, const Tensor& partial_TD) const {
  if (!tp_) return partial_TD;
  if (!ctx.decoding) return summed_part(ctx, *tp_, partial_TD, "tp");
  sum_over_tp(ctx, partial_TD);
  return partial_TD;
}

void ParallelRanks::sum_scatter_into(ExecContext& ctx, const Tensor& partial_TD, Tensor out_TD, bool accumulate) const {
  if (!accumulate && tp_ && !ctx.decoding) {
    require_whole_share(partial_TD, tp_->size(), "tp");
    tp_->reduce_scatter(out_TD, partial_TD, ReduceOp::sum, ctx.compute);
    return;
  }
  const Tensor part = sum_scatter(ctx, partial_TD);
  if (accumulate)
    ctx.ops.add(out_TD, out_TD, part, ctx.compute);
  else
    ctx.ops.copy(out_TD, part, ctx.compute);
}

void ParallelRanks::sum_over_tp(ExecContext& ctx, const Tensor& x) const {
  if (tp_) tp_->all_reduce(x, ReduceOp::sum, ctx.compute);
}

Tensor ParallelRanks::gather_context(ExecContext& ctx, const Tensor& x_TD) const {
  if (!cp_ || ctx.decoding) return x_TD;
  return reordered(ctx, gathered(ctx, *cp_, x_TD), ctx.batch.context.sequence_order_K);
}

Tensor ParallelRanks::sum_scatter_context(ExecContext& ctx, const Tensor& partial_KD) const {
  if (!cp_) return partial_KD;
  return summed_part(ctx, *cp_, reordered(ctx, partial_KD, ctx.batch.context.gathered_order_K), "cp");
}

Tensor ParallelRanks::gather_sequences(ExecContext& ctx, const Tensor& x_TE) const {
  return gather_context(ctx, gather(ctx, x_TE));
}

Tensor ParallelRanks::own_rows(ExecContext& ctx, const Tensor& x_KE) const {
  if (!tp_ && !cp_) return x_KE;
  const std::int64_t rows = x_KE.dim(0) / (tp_size() * cp_size());
  const std::int64_t begin = (cp_rank() * tp_size() + tp_rank()) * rows;  // rank by rank, as they are gathered
  Tensor own = ctx.ops.empty({rows, x_KE.dim(1)}, x_KE.dtype());
  if (cp_)
    ctx.ops.gather_rows(own, x_KE, ctx.batch.context.gathered_order_K.rows(begin, begin + rows), ctx.compute);
  else
    ctx.ops.copy(own, x_KE.rows(begin, begin + rows), ctx.compute);
  return own;
}

std::int64_t ParallelRanks::share(std::int64_t size, const char* what) const {
  if (size % tp_size() != 0)
    throw ConfigError(
        fmt::format("parallel.tp = {} does not divide {} = {}; choose a divisor of it", tp_size(), what, size));
  return size / tp_size();
}

void ParallelRanks::cut(Parameter& parameter, int dim) const {
  const std::int64_t part = share(parameter.spec.global[dim], parameter.name().c_str());
  parameter.spec.extent[dim] = part;
  parameter.spec.offset[dim] = tp_rank() * part;
  parameter.group = GradientGroup::cut;
}

}  // namespace athanor
