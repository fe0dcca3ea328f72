// The ranks among which the layers of one pipeline rank are cut, and how tokens move between them.
// Laws
//  * tp (tensor): between blocks every rank holds T/tp of the T tokens of a micro-batch, a run of rows in rank order
//    (sequence parallelism). Inside attention and feed-forward it holds all T tokens of its heads or columns. So a cut
//    layer gathers rows on its way in and sums and scatters them on its way out; backward does the transposes. Source:
//    Korthikanti et al. 2022 (arXiv 2205.05198), section 4.2.2.
//  * cp (context): a rank holds two runs of every sequence, the i-th and the i-th from the end of 2*cp equal ones, so
//    that causal attention costs every rank the same. Keys come from all of them: gathered, then put in the order of
//    the sequence (MicroBatch::ContextOrder). Source: Llama-3 report (arXiv 2407.21783), section 3.3.2.
//  * Decoding: every rank of tp holds all rows; sums go to all.
// All functions but the numbers are collective over their axis, and nothing where it has one rank.
#pragma once

#include "src/backend/communicator.hpp"
#include "src/nn/exec_context.hpp"

namespace athanor {

class ParallelRanks {
 public:
  /// Alone.
  ParallelRanks() = default;
  /// Both must outlive the layers. Null: a group of one.
  ParallelRanks(Communicator* tp, Communicator* cp)
      : tp_(tp && tp->size() > 1 ? tp : nullptr), cp_(cp && cp->size() > 1 ? cp : nullptr) {}

  int tp_size() const { return tp_ ? tp_->size() : 1; }
  int tp_rank() const { return tp_ ? tp_->rank() : 0; }
  int cp_size() const { return cp_ ? cp_->size() : 1; }
  int cp_rank() const { return cp_ ? cp_->rank() : 0; }

  /// x [T/tp, D] of every rank as [T, D].
  Tensor gather(ExecContext& ctx, const Tensor& x_TD) const;
  /// The rows of this rank [T/tp, D] of the sum over ranks of partial_TD [T, D].
  Tensor sum_scatter(ExecContext& ctx, const Tensor& partial_TD) const;
  /// The same, written (or added, when `accumulate`) to out.
  void sum_scatter_into(ExecContext& ctx, const Tensor& partial_TD, Tensor out_TD, bool accumulate) const;
  /// The sum over tp, on every rank.
  void sum_over_tp(ExecContext& ctx, const Tensor& x) const;

  /// x [T, D] of every rank of cp as [K, D], K = T*cp, in the order of the sequences.
  Tensor gather_context(ExecContext& ctx, const Tensor& x_TD) const;
  /// The rows of this rank [T, D] of the sum over cp of partial_KD.
  Tensor sum_scatter_context(ExecContext& ctx, const Tensor& partial_KD) const;

  /// x [T/tp, E] of every rank of tp and cp as [K, E] in the order of the sequences, and this rank's rows of such (a
  /// tensor of their own where there are other ranks).
  Tensor gather_sequences(ExecContext& ctx, const Tensor& x_TE) const;
  Tensor own_rows(ExecContext& ctx, const Tensor& x_KE) const;

  /// Keeps of `parameter` this rank's part of dim `dim`. @throws ConfigError when tp does not divide it.
  void cut(Parameter& parameter, int dim) const;
  /// size / tp. @throws ConfigError naming `what` when it is no whole number.
  std::int64_t share(std::int64_t size, const char* what) const;
  Communicator& tp() const { return *tp_; }

 private:
  Communicator *tp_ = nullptr, *cp_ = nullptr;
};

}  // namespace athanor
