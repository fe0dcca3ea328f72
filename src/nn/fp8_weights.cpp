#include "src/nn/fp8_weights.hpp"

#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "src/base/error.hpp"

namespace athanor {

std::uint64_t new_weights_epoch() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

const Fp8Matrix& Fp8Weights::of(ExecContext& ctx, const Parameter& weight, Transpose transpose) {
  Kept& kept = kept_[transpose == Transpose::yes ? 1 : 0];
  if (ctx.weights_epoch != 0 && kept.epoch == ctx.weights_epoch) return kept.matrix;
  Shape shape = weight.weight.shape();
  if (transpose == Transpose::yes) std::swap(shape[shape.ndim() - 1], shape[shape.ndim() - 2]);
  if (!kept.matrix.values.defined()) kept.matrix = ctx.ops.empty_fp8_blocks(shape);
  ctx.ops.quantize_fp8_blocks(kept.matrix, weight.weight, transpose, ctx.compute);
  kept.epoch = ctx.weights_epoch;
  return kept.matrix;
}

void require_fp8_sizes(const Parameter& weight) {
  const Shape& shape = weight.spec.extent;
  const std::int64_t rows = shape[shape.ndim() - 2], columns = shape.back();
  if (rows % 16 != 0 || columns % 16 != 0)
    throw ConfigError(
        fmt::format("model.fp8: {} is [{}, {}] on a rank, wanted multiples of 16; change the sizes of the "
                    "model or parallel.tp, or set model.fp8 = false",
                    weight.name(), rows, columns));
}

}  // namespace athanor
