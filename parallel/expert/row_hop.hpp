// One exchange of token rows between ranks, there and back. Law: a row goes once to each rank that serves (or passes
// on) one of its pairs, with the ids and weights of those pairs; results come back along the same way, one summed row
// for each row that left. Arrivals lie in the order (source rank, row there), so all that follows repeats bit for bit.
// T rows here, P their width on the way there (numbers, or packed FP8), D on the way back, K pairs a row, S rows that
// leave, C rows that arrive, N destinations a row at most.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "parallel/expert/node_map.hpp"
#include "src/backend/communicator.hpp"
#include "src/nn/expert_dispatcher.hpp"

namespace athanor {

/// What this rank sent to others: the rows, and all bytes with their ids and weights.
struct Traffic {
  std::int64_t rows_within_node = 0, bytes_within_node = 0;
  std::int64_t rows_across_nodes = 0, bytes_across_nodes = 0;
};

class RowHop {
 public:
  /// Whom a hop connects.
  enum class Reach : std::uint8_t {
    to_rank,     ///< every rank with every rank: the only hop
    to_node,     ///< a rank with its relays on all nodes: the first of two
    within_node  ///< the ranks of a node with each other: the second of two
  };
  /// @param comm  all ranks that share experts; must outlive this, and so must nodes and travel.
  /// @param travel  the stream of rows on their way there and back.
  RowHop(Communicator& comm, const NodeMap& nodes, Reach reach, std::int64_t slots_per_rank, Backend& ops,
         Stream& travel);

  struct Arrivals {
    Tensor x_CP, ids_CK, weights_CK;  ///< ids: slots of this rank after the last hop, of all ranks before; -1: none
    std::int64_t pairs = 0;           ///< ids that are not -1
  };
  /// Collective; waits for the counts. Fills `hop` and adds to `traffic`. What arrives is there after arrive().
  /// @param slots_TK  host: the slot (of all ranks) that serves each pair, -1 for none.
  Arrivals dispatch(ExecContext& ctx, const Tensor& x_TP, std::span<const std::int32_t> slots_TK,
                    const Tensor& weights_TK, DispatchHandle::Hop& hop, Traffic& traffic);
  /// Rows of another tensor along the same way. Collective. @returns x_CP, there after arrive().
  Tensor send(ExecContext& ctx, const Tensor& x_TP, const DispatchHandle::Hop& hop);
  // The way back, of any number of tensors: leave() once, by the last hop; for each tensor send_back, and where another
  // hop follows sum_on_the_way; then mark_arrival() and arrive() by the first hop, let_go() by the others.
  /// What ctx.compute was given so far comes before the journey.
  void leave(ExecContext& ctx);
  /// Sends every row of y_CD to the rank it came from. Collective. @returns y_SD: a row for each that left.
  Tensor send_back(ExecContext& ctx, const Tensor& y_CD, const DispatchHandle::Hop& hop);
  /// sum() on the travelling stream. @returns y_TD, which the hop before sends back.
  Tensor sum_on_the_way(ExecContext& ctx, const Tensor& y_SD, const DispatchHandle::Hop& hop);
  void mark_arrival() { travel_.record(*arrived_); }
  /// y_TD[t] = (or +=, when `accumulate`) the sum of what the destinations of row t sent back, in the order of its
  /// pairs.
  void sum(ExecContext& ctx, Tensor y_TD, const Tensor& y_SD, const DispatchHandle::Hop& hop, bool accumulate);

  /// Work on ctx.compute from here on finds what the last dispatch, send or way back brings. Once after each.
  void arrive(ExecContext& ctx);
  /// Lets go what travelled, once ctx.compute waits for the end of the journey.
  void let_go() { on_their_way_.clear(); }
  /// Rows that arrived through `hop`.
  static std::int64_t arrivals(const DispatchHandle::Hop& hop);

 private:
  void plan(std::span<const std::int32_t> slots_TK, std::int64_t top_k);
  std::int64_t exchange_counts(ExecContext& ctx, DispatchHandle::Hop& hop);
  Tensor gathered(ExecContext& ctx, const Tensor& x_TP, const DispatchHandle::Hop& hop);
  void travel(const Tensor& x_CP, const Tensor& x_SP, const DispatchHandle::Hop& hop);
  void count_traffic(std::int64_t bytes_per_row, Traffic& traffic) const;

  Communicator& comm_;
  const NodeMap& nodes_;
  bool is_last_;
  std::int64_t slots_per_rank_, max_destinations_;
  Stream& travel_;
  std::unique_ptr<Event> ready_, arrived_;           ///< on the caller's stream, on travel_
  std::vector<Tensor> on_their_way_;                 ///< kept until the caller's stream waits for the arrival
  std::vector<int> target_of_rank_;                  ///< where a pair goes that this rank serves
  std::vector<std::int64_t> count_to_, count_from_;  ///< 1 for the ranks this hop sends to, receives from; else 0
  std::int64_t num_sources_ = 0;

  // Made by plan; kept between calls, so that a steady state allocates nothing.
  std::vector<std::int64_t> rows_to_, pairs_to_, next_to_;
  std::vector<std::int64_t> last_row_;  ///< of each target, to see whether this row goes there already
  std::vector<std::int32_t> token_of_S_, slots_SK_, sent_row_of_TN_;
  std::vector<std::int64_t> counts_out_, counts_in_;
};

}  // namespace athanor
