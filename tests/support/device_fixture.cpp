#include "tests/support/device_fixture.hpp"

#include <cctype>
#include <limits>

namespace athanor {
namespace {

template <class T>
T converted(double value) {
  if constexpr (std::is_same_v<T, bf16>)
    return bf16(static_cast<float>(value));
  else
    return static_cast<T>(value);
}
template <class T>
double widened(T value) {
  if constexpr (std::is_same_v<T, bf16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

template <class F>
void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64:
      return f(double{});
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::i64:
      return f(std::int64_t{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::u8:
      return f(std::uint8_t{});
  }
}

}  // namespace

std::vector<DeviceCase> device_cases(const std::vector<DType>& dtypes) {
  std::vector<DeviceCase> cases;
  for (const std::string& device : available_devices())
    for (const DType dtype : dtypes) cases.push_back({device, dtype});
  return cases;
}

std::string device_case_name(const testing::TestParamInfo<DeviceCase>& info) {
  std::string name = info.param.device + "_" + std::string(to_string(info.param.dtype));
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

std::vector<double> random_values(std::int64_t count, std::uint64_t stream, double low, double high) {
  const Philox random(7, RandomPurpose::test, stream);
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i)
    values.push_back(low + (high - low) * random.uniform(static_cast<std::uint64_t>(i)));
  return values;
}

std::vector<std::int32_t> random_ids(std::int64_t count, std::uint64_t stream, std::int32_t limit) {
  const Philox random(8, RandomPurpose::test, stream);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(random.uniform(static_cast<std::uint64_t>(i)) * limit));
  return ids;
}

DeviceTest::DeviceTest() : ops_(make_backend(GetParam().device)), stream_(ops_->make_stream()) {}

Tensor DeviceTest::tensor(std::vector<double>& values, const Shape& shape, DType dtype) {
  Tensor result;
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    std::vector<T> host;
    for (double& value : values) {
      host.push_back(converted<T>(value));
      value = widened(host.back());
    }
    result = upload_vector<T>(ops(), std::span<const T>(host), shape, stream());
  });
  return result;
}

Tensor DeviceTest::ids(const std::vector<std::int32_t>& values, const Shape& shape) {
  return upload_vector<std::int32_t>(ops(), values, shape, stream());
}

Tensor DeviceTest::counts(const std::vector<std::int64_t>& values) {
  return upload_vector<std::int64_t>(ops(), values, {static_cast<std::int64_t>(values.size())}, stream());
}

Tensor DeviceTest::output(const Shape& shape, DType dtype) {
  return tensor(std::vector<double>(static_cast<std::size_t>(shape.numel()), std::numeric_limits<double>::quiet_NaN()),
                shape, dtype);
}

Tensor DeviceTest::output_ids(const Shape& shape) {
  return ids(std::vector<std::int32_t>(static_cast<std::size_t>(shape.numel()), -1), shape);
}

std::vector<double> DeviceTest::read(const Tensor& tensor) {
  std::vector<double> values;
  with_type(tensor.dtype(), [&](auto type) {
    using T = decltype(type);
    std::vector<T> host(static_cast<std::size_t>(tensor.numel()));
    ops().download(std::as_writable_bytes(std::span(host)), tensor, stream());
    stream().synchronize();
    for (const T value : host) values.push_back(widened(value));
  });
  return values;
}

std::vector<std::int32_t> DeviceTest::read_ids(const Tensor& tensor) {
  std::vector<std::int32_t> host(static_cast<std::size_t>(tensor.numel()));
  ops().download(std::as_writable_bytes(std::span(host)), tensor, stream());
  stream().synchronize();
  return host;
}

Bound DeviceTest::bound(double sums) const {
  const Bound inner = acc_bound(sums);
  if (dtype() != DType::bf16) return inner;
  return {inner.absolute, inner.relative + 0x1p-8};  // half a unit of 8 bits
}

Bound DeviceTest::acc_bound(double sums) const {
  const double unit = acc() == DType::f64 ? 0x1p-53 : 0x1p-24;
  return {sums * unit, sums * unit};
}

}  // namespace athanor
