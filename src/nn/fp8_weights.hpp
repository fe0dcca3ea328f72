// A weight matrix, or a stack of them, as FP8: straight for forward, transposed for input gradients. Law: made anew at
// every call, unless the context says by its epoch that weights have not changed since.
#pragma once

#include <array>

#include "src/nn/exec_context.hpp"

namespace athanor {

class Fp8Weights {
 public:
  /// 128 x 128 blocks of the weight, or of its transposed matrices. DeepSeek-V3 report, section 3.3.2.
  const Fp8Matrix& of(ExecContext& ctx, const Parameter& weight, Transpose transpose);

 private:
  struct Kept {
    std::uint64_t epoch = 0;
    Fp8Matrix matrix;
  };
  std::array<Kept, 2> kept_;
};

/// @throws ConfigError naming the parameter where a side of the matrix held here is no multiple of 16.
void require_fp8_sizes(const Parameter& weight);

}  // namespace athanor
