// Rotary position embedding (Su et al. 2021) with YaRN (Peng et al. 2023, as DeepSeek-V2/V3 use it) and Llama-3's
// stretch. Law: frequencies and tables are computed on the host in f64 and uploaded once in the accumulation type; a
// scaling that the configuration names is applied at every length (a model trained without it says `none`).
#pragma once

#include <cstdint>
#include <vector>

#include "src/nn/exec_context.hpp"
#include "src/nn/rope_config.hpp"

namespace athanor {

/// Angle per position of each of the rope_dim/2 pairs, after scaling.
std::vector<double> rope_frequencies(const RopeConfig& config, std::int64_t rope_dim);

/// YaRN's m(factor, a) = 0.1 a ln(factor) + 1, and 1 for factor <= 1.
double yarn_mscale(double factor, double a);

/// What the softmax scale 1/sqrt(head dim) is multiplied by: m(factor, mscale_all_dim)^2 with YaRN, else 1.
double rope_softmax_factor(const RopeConfig& config);

/// cos and sin of every position, on the device.
class RopeTables {
 public:
  RopeTables(Backend& ops, const RopeConfig& config, RopeLayout layout, std::int64_t rope_dim,
             std::int64_t max_positions, DType acc, Stream& stream);

  /// Rotates entries [offset, offset + rope_dim) of each of x's heads in place.
  void apply(ExecContext& ctx, const Tensor& x_TC, const Tensor& positions_T, std::int64_t num_heads,
             std::int64_t offset) const;
  /// The transpose of apply, on a gradient.
  void apply_backward(ExecContext& ctx, const Tensor& dx_TC, const Tensor& positions_T, std::int64_t num_heads,
                      std::int64_t offset) const;

  std::int64_t rope_dim() const { return rope_dim_; }

 private:
  void rotate(ExecContext& ctx, const Tensor& x_TC, const Tensor& positions_T, std::int64_t num_heads,
              std::int64_t offset, bool inverse) const;

  RopeLayout layout_;
  std::int64_t rope_dim_;
  Tensor cos_PR_, sin_PR_;
};

}  // namespace athanor
