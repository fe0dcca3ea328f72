// A mixture of experts whose experts are spread over all ranks of a test, and the same layer whole on every rank. Token
// g of the job holds the same numbers wherever it lies, so both can be compared row by row.
#pragma once

#include <memory>
#include <vector>

#include "parallel/collective_check.hpp"
#include "parallel/expert/all_to_all_dispatcher.hpp"
#include "parallel/mpi/mpi_communicator.hpp"
#include "src/nn/moe.hpp"
#include "tests/support/gradcheck.hpp"

namespace athanor::testing {

inline constexpr std::int64_t kDim = 6, kExperts = 16, kTopK = 3;

/// Eight routing groups of which a token may use two.
inline MoeConfig toy_moe() {
  MoeConfig config;
  config.router.args = {
      .num_experts = kExperts, .top_k = kTopK, .num_groups = 8, .num_limited_groups = 2, .route_scale = 2.5};
  config.router.dim = config.dim = kDim;
  config.router.init_std = config.init_std = 0.4;
  config.moe_inter_dim = 5;
  config.num_shared_experts = 1;
  return config;
}

/// Tokens on a rank: uneven, none on some.
inline std::int64_t tokens_on(int rank) {
  constexpr std::int64_t kTokens[] = {7, 0, 12, 5, 1, 9, 0, 4};
  return kTokens[rank % 8];
}
inline std::int64_t first_token_on(int rank) {
  std::int64_t first = 0;
  for (int before = 0; before < rank; ++before) first += tokens_on(before);
  return first;
}

/// A device with what every test of several ranks needs.
struct RankBench {
  HostGroup world = HostGroup::world();
  std::unique_ptr<Backend> ops;
  std::unique_ptr<Stream> stream, travel;
  MpiCommunicator transport{world};
  CheckedCommunicator comm{transport, world, "along ep"};
  MicroBatch batch;
  DType dtype;
  ExecContext training, evaluation;

  explicit RankBench(const std::string& device, DType type = DType::f64)
      : ops(make_backend(device)),
        stream(ops->make_stream()),
        travel(ops->make_stream()),
        dtype(type),
        training{*ops, *stream, *stream, batch, type, true},
        evaluation{*ops, *stream, *stream, batch, type, false} {}

  int rank() const { return world.rank(); }
  int size() const { return world.size(); }
  std::int64_t tokens() const { return tokens_on(rank()); }
  std::int64_t first_token() const { return first_token_on(rank()); }
  std::int64_t all_tokens() const { return first_token_on(size()); }
  NodeMap nodes(std::int64_t ranks_per_node) { return NodeMap::gather(world, world.rank(), ranks_per_node); }
  ExpertPlacement contiguous() const { return ExpertPlacement::contiguous(kExperts, size()); }

  /// Row g of a [tokens of the job, width] array of random numbers depends on g alone.
  std::vector<double> random_rows(std::int64_t first, std::int64_t count, std::int64_t width, std::uint64_t stream_id,
                                  double scale = 1.0) const {
    const std::vector<double> all = random_values((first + count) * width, stream_id, scale);
    return {all.begin() + first * width, all.end()};
  }
  Tensor tensor(const std::vector<double>& values, const Shape& shape) { return tensor(values, shape, dtype); }
  Tensor tensor(const std::vector<double>& values, const Shape& shape, DType type) {
    return tensor_of(*ops, values, shape, type, *stream);
  }
  std::vector<double> values(const Tensor& x) { return download_doubles(*ops, x, *stream); }
  /// Sum over ranks of a tensor, in place.
  std::vector<double> summed(const Tensor& x) {
    Tensor sum = x;
    comm.all_reduce(sum, ReduceOp::sum, *stream);
    return values(sum);
  }
};

/// The layer with its memory.
struct MoeBench {
  Moe moe;
  ParameterStore store;
  Tensor balance_loss_1, counts_E;
  Moe::Saved saved;

  MoeBench(RankBench& bench, ExpertDispatcher& dispatcher, bool with_gradients = true,
           const MoeConfig& config = toy_moe())
      : moe(*bench.ops, "moe", bench.dtype, config, dispatcher, *bench.stream),
        store(*bench.ops, moe.parameters(), {.with_gradients = with_gradients}, *bench.stream),
        balance_loss_1(bench.ops->empty({1}, accumulation_dtype(bench.dtype))),
        counts_E(bench.ops->empty({kExperts}, DType::i64)) {
    store.initialize(5, *bench.stream);
    bench.ops->fill(balance_loss_1, 0.0, *bench.stream);
    bench.ops->fill(counts_E, 0.0, *bench.stream);
    moe.router().set_sums(balance_loss_1, counts_E);
  }
};

/// Rows [first, first + count) of a flat array.
inline std::vector<double> rows_of(const std::vector<double>& all, std::int64_t first, std::int64_t count,
                                   std::int64_t width) {
  return {all.begin() + first * width, all.begin() + (first + count) * width};
}

/// As relative_difference, on the scale of all rows, where a rank holds few or none.
inline double difference(const std::vector<double>& a, const std::vector<double>& b, const std::vector<double>& all) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0.0, scale = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) return INFINITY;
    worst = std::max(worst, std::abs(a[i] - b[i]));
  }
  for (const double value : all) scale = std::max(scale, std::abs(value));
  return worst / scale;
}

}  // namespace athanor::testing
