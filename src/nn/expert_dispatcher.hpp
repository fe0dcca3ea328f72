// Brings tokens to the experts that serve them and their results back. Law: dispatch and combine are linear maps; the
// backward of one is, up to the routing weights, the other. Nothing is dropped. LocalDispatcher is the specification:
// every other dispatcher gives the same rows, grouped by expert, for the experts that live elsewhere.
// Each of the four comes in two calls: start_ sends the rows off, which travel beside what ctx.compute is given then,
// and finish_, the next of this dispatcher's calls, has work on ctx.compute find them. All calls are collective where
// ranks share experts. What comes back is added last, to what lies in the caller's tensor if it says so: the order of
// additions is the same wherever experts live. On their way to experts rows and gradients may be FP8, rounded once,
// where they leave, with scales that are powers of two; results and their gradients return in the compute type
// (DeepSeek-V3 report, section 3.3.3). Both dispatchers round alike. T tokens, D model width, E experts (slots) held
// here, K experts a token, R rows for the experts held here, C rows that arrived here (a token whose experts live
// elsewhere leaves once for each rank that holds some of them).
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "src/nn/activation.hpp"

namespace athanor {

struct Routing {
  Tensor expert_ids_TK;  ///< i32
  Tensor weights_TK;     ///< acc
};

/// What dispatch found out and the other three need. Reused from step to step, so that its vectors allocate once.
struct DispatchHandle {
  Tensor pair_of_R, row_of_TK;  ///< i32: the T*K pairs in order of expert, and back (Backend::sort_by_expert)
  Tensor offsets_E1;            ///< i32: first dispatched row of each expert held here, and the end
  std::int64_t tokens = 0;      ///< T
  bool fp8 = false;             ///< what goes to experts is FP8: the caller's word, before start_dispatch

  /// Where rows travel between ranks, one exchange: how many go to and come from each rank, and which.
  struct Hop {
    std::vector<std::int64_t> send_rows, recv_rows;
    Tensor token_of_S;      ///< i32: the row of the input that leaves as row s; S = sum of send_rows
    Tensor sent_row_of_TN;  ///< i32: where each row of the input left, -1 for none; N destinations a row at most
  };
  std::array<Hop, 2> hops;  ///< to nodes and on to ranks, or the second alone
  /// acc: routing weights that came with the arrivals, which take the place of tokens: row_of_TK is row_of_CK.
  Tensor weights_CK;

  /// Lets the tensors go; the vectors keep their memory for the next step.
  void release() {
    pair_of_R = row_of_TK = offsets_E1 = weights_CK = Tensor{};
    for (Hop& hop : hops) hop.token_of_S = hop.sent_row_of_TN = Tensor{};
  }
};

class ExpertDispatcher {
 public:
  virtual ~ExpertDispatcher() = default;
  /// The experts held here in the order of offsets_E1: the layer makes a matrix for each. One range of ids, but where
  /// experts are placed by load for inference.
  virtual std::vector<std::int64_t> local_experts() const = 0;
  /// Sends the rows of the tokens to their experts. Fills `handle` in part.
  virtual void start_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing, DispatchHandle& handle) = 0;
  /// The same arguments. @returns x_RD: a row for every (token, expert) pair, ordered by expert; `handle` is complete.
  virtual Activation finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                                     DispatchHandle& handle) = 0;
  /// Sends the results y_RD back.
  virtual void start_combine(ExecContext& ctx, Tensor y_RD, const Routing& routing, const DispatchHandle& handle) = 0;
  /// y_TD[t] = (or +=, when `accumulate`) the sum over k of weights_TK[t,k] * the row of pair (t,k) of y_RD.
  virtual void finish_combine(ExecContext& ctx, Tensor y_TD, bool accumulate, const Routing& routing,
                              const DispatchHandle& handle) = 0;

  /// Sends rows of dy_TD where those of the tokens went.
  virtual void start_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const DispatchHandle& handle) = 0;
  struct RowGradients {
    Activation dy_RD;
    Tensor dweights_CK;  ///< acc: of the routing weights, where rows arrived; dispatch's backward takes them home
  };
  virtual RowGradients finish_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const Tensor& y_RD,
                                               const Routing& routing, const DispatchHandle& handle) = 0;
  /// Sends the gradients of rows and weights back.
  virtual void start_dispatch_backward(ExecContext& ctx, Tensor dx_RD, Tensor dweights_CK,
                                       const DispatchHandle& handle) = 0;
  /// dx_TD[t] = (or +=, when `accumulate`) the sum of the token's rows of dx_RD. @returns dweights_TK (acc).
  virtual Tensor finish_dispatch_backward(ExecContext& ctx, Tensor dx_TD, bool accumulate,
                                          const DispatchHandle& handle) = 0;

 protected:
  /// Rows as they go to experts: x_TD, or packed FP8 (Backend::pack_fp8_rows).
  static Tensor rows_to_send(ExecContext& ctx, const Tensor& x_TD, const DispatchHandle& handle);
  /// Sorts what arrived by expert and fills the rest of `handle`.
  /// @param x_CP  from rows_to_send; x_TD: what they were made of here. @param rows  pairs of ids that are not -1.
  static Activation rows_of_experts(ExecContext& ctx, const Tensor& x_CP, const Tensor& x_TD,
                                    const Tensor& expert_ids_CK, std::int64_t rows, std::int64_t num_experts,
                                    DispatchHandle& handle);
  /// @param dy_CP  from rows_to_send.
  static RowGradients row_gradients(ExecContext& ctx, const Tensor& dy_CP, const Tensor& y_RD, const Tensor& weights_CK,
                                    const DispatchHandle& handle);
};

/// All experts are here: a permutation of rows.
class LocalDispatcher final : public ExpertDispatcher {
 public:
  explicit LocalDispatcher(std::int64_t num_experts) : num_experts_(num_experts) {}
  std::vector<std::int64_t> local_experts() const override;
  void start_dispatch(ExecContext&, const Tensor&, const Routing&, DispatchHandle&) override {}
  Activation finish_dispatch(ExecContext& ctx, const Tensor& x_TD, const Routing& routing,
                             DispatchHandle& handle) override;
  void start_combine(ExecContext& ctx, Tensor y_RD, const Routing& routing, const DispatchHandle& handle) override;
  void finish_combine(ExecContext& ctx, Tensor y_TD, bool accumulate, const Routing& routing,
                      const DispatchHandle& handle) override;
  void start_combine_backward(ExecContext&, const Tensor&, const DispatchHandle&) override {}
  RowGradients finish_combine_backward(ExecContext& ctx, const Tensor& dy_TD, const Tensor& y_RD,
                                       const Routing& routing, const DispatchHandle& handle) override;
  void start_dispatch_backward(ExecContext& ctx, Tensor dx_RD, Tensor dweights_CK,
                               const DispatchHandle& handle) override;
  Tensor finish_dispatch_backward(ExecContext& ctx, Tensor dx_TD, bool accumulate,
                                  const DispatchHandle& handle) override;

 private:
  std::int64_t num_experts_;
  Tensor returning_RD_, dweights_TK_;  ///< from start to finish
};

}  // namespace athanor
