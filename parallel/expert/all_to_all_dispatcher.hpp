// Experts spread over the ranks of axis ep: rows travel to their experts and results travel back.
//
// Law: dropless, and deterministic: the rows of an expert lie in the order (source rank, token, k) where one hop
// suffices, which is LocalDispatcher's order over all tokens; with two hops in the order (index of the source in its
// node, source's node, token, k). Every rank of the group makes the same calls, also with no tokens. Backward reuses
// the handle: only dispatch asks for counts and waits for the device. Rows travel beside what the caller computes
// meanwhile: to experts by the first hop where there are two (the second waits for counts), back by both.
//
// A token leaves once for each rank that holds some of its experts. Where nodes of several ranks share the group, it
// leaves once for each such *node*, to the rank there that has the source's index in its node, and goes on from there
// to the ranks of that node. So with node-limited routing to M nodes a token crosses nodes at most M times. Results are
// weighted and summed on the rank of the experts, then on the relay, then at the source: one row a destination comes
// back. Partial sums are rounded to the compute type and are added in another order than LocalDispatcher's; routing
// weights travel with the rows and their gradients come back exactly, each from the one rank that knows it.
// Source: DeepSeek-V3 report, section 3.2.2; DeepEP's dispatch and combine.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/expert/node_map.hpp"
#include "parallel/expert/placement.hpp"
#include "parallel/expert/row_hop.hpp"
#include "src/backend/communicator.hpp"
#include "src/nn/expert_dispatcher.hpp"

namespace athanor {

class AllToAllDispatcher final : public ExpertDispatcher {
 public:
  /// Rank r of `comm` holds the slots of rank r of `placement`; the copies of an expert take turns by token. Not
  /// collective.
  /// @param comm  the group along ep; must outlive this.
  /// @param travel  a stream beside that of the layers, for rows on their way; must outlive this. Others
  /// that send along ep may use it, nobody else: what waits there would hold rows up.
  /// @throws ConfigError when the three are not of one size.
  AllToAllDispatcher(Communicator& comm, NodeMap nodes, ExpertPlacement placement, Backend& ops, Stream& travel);
  // Its hops look into it.
  AllToAllDispatcher(const AllToAllDispatcher&) = delete;
  AllToAllDispatcher& operator=(const AllToAllDispatcher&) = delete;

  std::vector<std::int64_t> local_experts() const override { return placement_.held_by(comm_.rank()); }
  /// x_TD: compute type. x_RD: rows for the experts held here. Collective over ep, like all below.
  /// @throws Error when an expert id is out of range.
  void start_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing, DispatchHandle& handle) override;
  Activation finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                             DispatchHandle& handle) override;
  void start_combine(ExecContext& ctx, Tensor y_RD, const Routing& routing, const DispatchHandle& handle) override;
  void finish_combine(ExecContext& ctx, Tensor y_TD, bool accumulate, const Routing& routing,
                      const DispatchHandle& handle) override;
  void start_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const DispatchHandle& handle) override;
  RowGradients finish_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const Tensor& y_RD,
                                       const Routing& routing, const DispatchHandle& handle) override;
  void start_dispatch_backward(ExecContext& ctx, Tensor dx_RD, Tensor dweights_CK,
                               const DispatchHandle& handle) override;
  Tensor finish_dispatch_backward(ExecContext& ctx, Tensor dx_TD, bool accumulate,
                                  const DispatchHandle& handle) override;

  const ExpertPlacement& placement() const { return placement_; }
  const NodeMap& nodes() const { return nodes_; }
  /// What this rank sent in the last dispatch. combine sends as many rows the other way, in the compute type.
  const Traffic& traffic() const { return traffic_; }

 private:
  void download_ids(ExecContext& ctx, const Tensor& ids);
  void choose_copies(std::int64_t top_k);
  /// Through the hops, last first, but for the sum at the end. y_CD arrived through the last. @returns y_SD of the
  /// first, there after come_back.
  Tensor send_back(ExecContext& ctx, Tensor y_CD, const DispatchHandle& handle);
  void come_back(ExecContext& ctx);

  Communicator& comm_;
  NodeMap nodes_;
  ExpertPlacement placement_;
  std::vector<std::vector<std::int64_t>> slots_of_E_;
  std::vector<RowHop> hops_;            ///< one, or two: to nodes, within the node
  std::vector<std::int32_t> slots_TK_;  ///< kept between calls
  RowHop::Arrivals arriving_;           ///< from start to finish: through the first hop
  Tensor returning_SD_, dweights_SK_;   ///< from start to finish: back through the first hop
  Traffic traffic_;
};

}  // namespace athanor
