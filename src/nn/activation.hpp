// A tensor of activations in the forms in which layers read it: numbers, FP8 by rows (left operands of products) and
// FP8 by columns (operands of weight gradients). Law: a form is made at the first call that asks for it, of the numbers
// where they are held, and shared by all who read it since and by copies made since. What is kept for backward may be
// the FP8 alone, as DeepSeek-V3 kept it (its report, section 3.3.3): then its scales are powers of two, so that
// decoding it and cutting it into columns round nothing again but the tiniest numbers (Backend::retile_fp8_columns).
#pragma once

#include "src/nn/parallel_ranks.hpp"

namespace athanor {

/// How a layer that multiplies in FP8 keeps its inputs for backward.
enum class KeptInputs : std::uint8_t {
  numbers,  ///< as they were
  fp8,      ///< the FP8 that forward multiplied; scales are powers of two
};

class Activation {
 public:
  Activation() = default;
  explicit Activation(Tensor x_TI) : x_TI_(std::move(x_TI)) {}
  /// FP8 alone, by rows: what came that way.
  explicit Activation(Fp8Matrix rows_TI) : rows_(std::move(rows_TI)) {}

  bool defined() const { return x_TI_.defined() || rows_.values.defined(); }
  bool holds_fp8_alone() const { return !x_TI_.defined() && rows_.values.defined(); }
  std::int64_t num_rows() const;
  /// Of the numbers; where only FP8 is held the context's type.
  DType dtype(const ExecContext& ctx) const { return x_TI_.defined() ? x_TI_.dtype() : ctx.dtype; }

  /// [T, I]; decoded at every call where only FP8 is held.
  Tensor numbers(ExecContext& ctx) const;
  /// 1 x 128 tiles.
  const Fp8Matrix& fp8_rows(ExecContext& ctx, KeptInputs inputs);
  /// Transposed, tiles along the tokens (of each group of offsets_E1, which must be the same at every call).
  const Fp8Matrix& fp8_columns(ExecContext& ctx, const Tensor& offsets_E1 = {});

  /// What a layer holds for backward: the numbers, or FP8 by rows; this where the numbers are not held.
  Activation kept(ExecContext& ctx, KeptInputs inputs);

 private:
  Tensor x_TI_;
  Fp8Matrix rows_, columns_;
};

/// What every rank of tp kept of its rows, as what one rank would have kept of all of them: the same numbers. The same
/// where there is no other rank. Collective over tp.
Activation gathered(ExecContext& ctx, const ParallelRanks& ranks, const Activation& kept_TI, KeptInputs inputs);

/// x by rows of the context's tokens, scales of any size: gradients, which nobody keeps in FP8.
Fp8Matrix fp8_rows(ExecContext& ctx, const Tensor& x_TI);
/// x transposed, tiles along the tokens (of each group): an operand of weight gradients.
Fp8Matrix fp8_columns(ExecContext& ctx, const Tensor& x_TI, const Tensor& offsets_E1 = {});

}  // namespace athanor
