// Tests of operations on every available device and floating type: tensors from host numbers and back, random numbers.
//   class NormTest : public DeviceTest {};
//   TEST_P(NormTest, ...) { ... }
//   INSTANTIATE_TEST_SUITE_P(Backends, NormTest, testing::ValuesIn(device_cases()), device_case_name);
// Conversions happen here on the host, so that an operation under test is the only device code in its test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "src/backend/backend.hpp"
#include "tests/support/near.hpp"

namespace athanor {

struct DeviceCase {
  std::string device;
  DType dtype;
};

/// Every available device with each of `dtypes`.
std::vector<DeviceCase> device_cases(const std::vector<DType>& dtypes = {DType::f64, DType::f32, DType::bf16});
/// "cpu_guarded_bf16"
std::string device_case_name(const testing::TestParamInfo<DeviceCase>& info);

/// `count` numbers in [low, high), the same for the same stream.
std::vector<double> random_values(std::int64_t count, std::uint64_t stream, double low = -1.0, double high = 1.0);
/// `count` ids in [0, limit).
std::vector<std::int32_t> random_ids(std::int64_t count, std::uint64_t stream, std::int32_t limit);

class DeviceTest : public testing::TestWithParam<DeviceCase> {
 protected:
  DeviceTest();

  DType dtype() const { return GetParam().dtype; }
  DType acc() const { return accumulation_dtype(dtype()); }
  Backend& ops() { return *ops_; }
  Stream& stream() { return *stream_; }

  /// A tensor of `values` rounded to `dtype`; `values` becomes what the tensor holds.
  Tensor tensor(std::vector<double>& values, const Shape& shape, DType dtype);
  Tensor tensor(std::vector<double>&& values, const Shape& shape, DType dtype) { return tensor(values, shape, dtype); }
  Tensor ids(const std::vector<std::int32_t>& values, const Shape& shape);
  Tensor counts(const std::vector<std::int64_t>& values);
  /// A tensor to be overwritten: NaN everywhere, so that an element left out is seen.
  Tensor output(const Shape& shape, DType dtype);
  Tensor output_ids(const Shape& shape);

  /// The elements, after everything enqueued so far. Any dtype.
  std::vector<double> read(const Tensor& tensor);
  std::vector<std::int32_t> read_ids(const Tensor& tensor);

  /// One rounding to the type of an output, plus `sums` units of the accumulation type.
  Bound bound(double sums = 8.0) const;
  /// The same where the output is of the accumulation type.
  Bound acc_bound(double sums = 8.0) const;

 private:
  std::unique_ptr<Backend> ops_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace athanor
