#include "src/nn/rope.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Keeps frequencies that turn more than beta_fast times within the original length, divides those that turn less than
/// beta_slow times by the factor, and blends between. Source: DeepSeek-V3 inference/model.py precompute_freqs_cis.
void stretch_yarn(std::vector<double>& frequencies, const RopeConfig& config, std::int64_t rope_dim) {
  const auto r = static_cast<double>(rope_dim);
  const auto correction_dim = [&](double rotations) {
    const auto length = static_cast<double>(config.original_max_positions);
    return r * std::log(length / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(config.theta));
  };
  const double low = std::max(std::floor(correction_dim(config.beta_fast)), 0.0);
  double high = std::min(std::ceil(correction_dim(config.beta_slow)), r - 1.0);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / config.factor * ramp + frequencies[i] * (1.0 - ramp);
  }
}

/// The same idea by wavelength. Source: Llama-3 reference, apply_scaling.
void stretch_llama3(std::vector<double>& frequencies, const RopeConfig& config) {
  const auto length = static_cast<double>(config.original_max_positions);
  for (double& frequency : frequencies) {
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    if (wavelength < length / config.high_freq_factor) continue;
    if (wavelength > length / config.low_freq_factor) {
      frequency /= config.factor;
      continue;
    }
    const double smooth =
        (length / wavelength - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor);
    frequency = (1.0 - smooth) * frequency / config.factor + smooth * frequency;
  }
}

template <class T>
Tensor upload_as(Backend& ops, const std::vector<double>& values, const Shape& shape, Stream& stream) {
  const std::vector<T> converted(values.begin(), values.end());
  return upload_vector<T>(ops, std::span<const T>(converted), shape, stream);
}

}  // namespace

std::vector<double> rope_frequencies(const RopeConfig& config, std::int64_t rope_dim) {
  std::vector<double> frequencies(static_cast<std::size_t>(rope_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = std::pow(config.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope_dim));
  if (config.scaling == RopeScaling::yarn) stretch_yarn(frequencies, config, rope_dim);
  if (config.scaling == RopeScaling::llama3) stretch_llama3(frequencies, config);
  return frequencies;
}

double yarn_mscale(double factor, double a) { return factor <= 1.0 ? 1.0 : 0.1 * a * std::log(factor) + 1.0; }

double rope_softmax_factor(const RopeConfig& config) {
  if (config.scaling != RopeScaling::yarn) return 1.0;
  const double m = yarn_mscale(config.factor, config.mscale_all_dim);
  return m * m;
}

RopeTables::RopeTables(Backend& ops, const RopeConfig& config, RopeLayout layout, std::int64_t rope_dim,
                       std::int64_t max_positions, DType acc, Stream& stream)
    : layout_(layout), rope_dim_(rope_dim) {
  // YaRN's length correction goes to the softmax as far as mscale_all_dim says, and to cos and sin for the rest.
  const double amplitude = config.scaling == RopeScaling::yarn ? yarn_mscale(config.factor, config.mscale) /
                                                                     yarn_mscale(config.factor, config.mscale_all_dim)
                                                               : 1.0;
  const std::vector<double> frequencies = rope_frequencies(config, rope_dim);
  std::vector<double> cosines, sines;
  cosines.reserve(static_cast<std::size_t>(max_positions) * frequencies.size());
  sines.reserve(cosines.capacity());
  for (std::int64_t position = 0; position < max_positions; ++position) {
    for (const double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      cosines.push_back(amplitude * std::cos(angle));
      sines.push_back(amplitude * std::sin(angle));
    }
  }
  const Shape shape{max_positions, rope_dim / 2};
  const auto upload = acc == DType::f64 ? upload_as<double> : upload_as<float>;
  cos_PR_ = upload(ops, cosines, shape, stream);
  sin_PR_ = upload(ops, sines, shape, stream);
}

void RopeTables::apply(ExecContext& ctx, const Tensor& x_TC, const Tensor& positions_T, std::int64_t num_heads,
                       std::int64_t offset) const {
  rotate(ctx, x_TC, positions_T, num_heads, offset, false);
}

void RopeTables::apply_backward(ExecContext& ctx, const Tensor& dx_TC, const Tensor& positions_T,
                                std::int64_t num_heads, std::int64_t offset) const {
  rotate(ctx, dx_TC, positions_T, num_heads, offset, true);
}

void RopeTables::rotate(ExecContext& ctx, const Tensor& x_TC, const Tensor& positions_T, std::int64_t num_heads,
                        std::int64_t offset, bool inverse) const {
  const RopeArgs args{.layout = layout_,
                      .num_heads = num_heads,
                      .head_dim = x_TC.dim(-1) / num_heads,
                      .offset = offset,
                      .rope_dim = rope_dim_,
                      .inverse = inverse};
  ctx.ops.rope(x_TC, positions_T, cos_PR_, sin_PR_, args, ctx.compute);
}

}  // namespace athanor
