// Checks hand-written gradients against differences of the loss, in f64.
// Law: central differences of fourth order with step h are off by about h^4 f'''''/30 and by rounding, some ulps of the
// loss over h. With h = 1e-4 that is about 1e-11, so a bound of 1e-6 on the relative error, with that rounding allowed
// on top, leaves room for nothing but a wrong gradient. An element is compared on the scale of the larger of the two
// values, or of a thousandth of the tensor's largest gradient. A tensor whose gradients are all zero fails: it would
// check nothing.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor::testing {

/// `count` standard normal numbers times `scale`, a pure function of the arguments.
inline std::vector<double> random_values(std::int64_t count, std::uint64_t stream, double scale = 1.0) {
  const Philox random(17, RandomPurpose::test, stream);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * random.normal(i);
  return values;
}

/// Host doubles as a tensor of any floating type.
inline void upload_doubles(Backend& ops, const Tensor& dst, const std::vector<double>& values, Stream& stream) {
  const Tensor exact = upload_vector<double>(ops, values, dst.shape(), stream);
  ops.copy(dst, exact, stream);
}
inline Tensor tensor_of(Backend& ops, const std::vector<double>& values, const Shape& shape, DType dtype,
                        Stream& stream) {
  Tensor tensor = ops.empty(shape, dtype);
  upload_doubles(ops, tensor, values, stream);
  return tensor;
}
/// Elements of a floating tensor as host doubles. Synchronizes.
inline std::vector<double> download_doubles(Backend& ops, const Tensor& src, Stream& stream) {
  Tensor exact = src;
  if (src.dtype() != DType::f64) {
    exact = ops.empty(src.shape(), DType::f64);
    ops.copy(exact, src, stream);
  }
  std::vector<double> values(static_cast<std::size_t>(src.numel()));
  ops.download(std::as_writable_bytes(std::span(values)), exact, stream);
  stream.synchronize();
  return values;
}
/// Elements of an integer tensor. Synchronizes.
template <class T>
std::vector<T> download_integers(Backend& ops, const Tensor& src, Stream& stream) {
  std::vector<T> values(static_cast<std::size_t>(src.numel()));
  ops.download(std::as_writable_bytes(std::span(values)), src, stream);
  stream.synchronize();
  return values;
}

/// A tensor that the loss depends on, and what the code under test says its gradient is.
struct CheckedTensor {
  std::string name;
  Tensor x;  ///< f64
  std::vector<double> gradient;
};

struct GradcheckOptions {
  double step = 1e-4;
  double tolerance = 1e-6;
  std::int64_t max_elements = 24;  ///< of each tensor, spread evenly
};

/// @param loss  evaluates the loss from the present contents of the tensors.
inline ::testing::AssertionResult gradcheck(Backend& ops, Stream& stream, const std::function<double()>& loss,
                                            const std::vector<CheckedTensor>& tensors,
                                            const GradcheckOptions& options = {}) {
  for (const CheckedTensor& tensor : tensors) {
    const std::vector<double> original = download_doubles(ops, tensor.x, stream);
    std::vector<double> moved = original;
    const auto loss_at = [&](std::size_t i, double offset) {
      moved[i] = original[i] + offset;
      upload_doubles(ops, tensor.x, moved, stream);
      moved[i] = original[i];
      return loss();
    };
    double largest = 0.0;
    for (const double g : tensor.gradient) largest = std::max(largest, std::abs(g));
    if (!(largest > 0.0)) return ::testing::AssertionFailure() << tensor.name << ": every gradient is zero or NaN";

    const double rounding = 8.0 * 0x1.0p-52 * std::abs(loss()) / options.step;
    const auto count = static_cast<std::int64_t>(original.size());
    const std::int64_t checks = std::min(count, options.max_elements);
    for (std::int64_t n = 0; n < checks; ++n) {
      const auto i = static_cast<std::size_t>(n * count / checks);
      const double h = options.step;
      const double near = loss_at(i, h) - loss_at(i, -h), far = loss_at(i, 2 * h) - loss_at(i, -2 * h);
      const double numeric = (8.0 * near - far) / (12.0 * h), claimed = tensor.gradient[i];
      const double scale = std::max({std::abs(numeric), std::abs(claimed), 1e-3 * largest});
      if (!(std::abs(numeric - claimed) <= options.tolerance * scale + rounding))
        return ::testing::AssertionFailure()
               << tensor.name << "[" << i << "]: differences give " << numeric << ", the code under test " << claimed
               << ", relative error " << std::abs(numeric - claimed) / scale << " > " << options.tolerance;
    }
    upload_doubles(ops, tensor.x, original, stream);
  }
  return ::testing::AssertionSuccess();
}

/// Largest |a - b| over the largest |b|; infinity when the counts differ or a number is not finite.
inline double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0.0, scale = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    difference = std::max(difference, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return difference / scale;
}

}  // namespace athanor::testing
