// What the tests of attention share: cases, random operands, and a run of the training operations on every available
// device and floating type.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor {

using Values = std::vector<double>;

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Documents one after the other, or one with a window when `window` > 0.
struct Case {
  std::vector<std::int64_t> documents;
  std::int64_t heads, kv_heads, qk_dim, v_dim, window = 0;

  AttentionArgs args() const { return {heads, kv_heads, qk_dim, v_dim, 1.3 / std::sqrt(static_cast<double>(qk_dim))}; }
  std::vector<std::int32_t> key_begin() const {
    std::vector<std::int32_t> begin;
    for (const std::int64_t length : documents) {
      const auto first = static_cast<std::int64_t>(begin.size());
      for (std::int64_t i = 0; i < length; ++i)
        begin.push_back(static_cast<std::int32_t>(window > 0 ? std::max(first, first + i - window + 1) : first));
    }
    return begin;
  }
  std::int64_t tokens() const { return static_cast<std::int64_t>(key_begin().size()); }
};

struct AttentionSetting {
  std::string device;
  DType dtype;
};

class AttentionTest : public testing::TestWithParam<AttentionSetting> {
 protected:
  AttentionTest() : ops_(make_backend(GetParam().device)), stream_(ops_->make_stream()), dtype_(GetParam().dtype) {}

  /// Random numbers in [-1, 1) as a tensor; `held` (optional) gets what it holds after rounding.
  Tensor random(const Shape& shape, std::uint64_t stream, Values* held = nullptr) {
    const Philox random(5, RandomPurpose::test, stream);
    Values host(at(shape.numel()));
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = 2 * random.uniform(i) - 1;
    const Tensor tensor = upload(host, shape);
    if (held) *held = read(tensor);
    return tensor;
  }
  Tensor upload(const Values& values, const Shape& shape) {
    const Tensor wide = upload_vector<double>(*ops_, values, shape, *stream_);
    if (dtype_ == DType::f64) return wide;
    Tensor tensor = ops_->empty(shape, dtype_);
    ops_->copy(tensor, wide, *stream_);
    return tensor;
  }
  Tensor ids(const std::vector<std::int32_t>& values) {
    return upload_vector<std::int32_t>(*ops_, values, {static_cast<std::int64_t>(values.size())}, *stream_);
  }
  Values read(const Tensor& tensor) {
    Tensor wide = ops_->empty(tensor.shape(), DType::f64);
    ops_->copy(wide, tensor, *stream_);
    Values values(at(tensor.numel()));
    ops_->download(std::as_writable_bytes(std::span(values)), wide, *stream_);
    stream_->synchronize();
    return values;
  }

  struct Inputs {
    Tensor q, k, v, d_o;
  };
  Inputs inputs(const Case& c, Values* q = nullptr, Values* k = nullptr, Values* v = nullptr, Values* d_o = nullptr) {
    const std::int64_t tokens = c.tokens();
    return {random({tokens, c.heads * c.qk_dim}, 1, q), random({tokens, c.kv_heads * c.qk_dim}, 2, k),
            random({tokens, c.kv_heads * c.v_dim}, 3, v), random({tokens, c.heads * c.v_dim}, 4, d_o)};
  }
  struct Results {
    Values o, lse, dq, dk, dv;
  };
  Results run(const Case& c, const Inputs& in) {
    const std::int64_t tokens = c.tokens();
    const Tensor begin = ids(c.key_begin());
    Tensor o = ops_->empty({tokens, c.heads * c.v_dim}, dtype_);
    Tensor lse = ops_->empty({tokens, c.heads}, accumulation_dtype(dtype_));
    Tensor dq = ops_->empty(in.q.shape(), dtype_), dk = ops_->empty(in.k.shape(), dtype_);
    Tensor dv = ops_->empty(in.v.shape(), dtype_);
    ops_->attention_forward(o, lse, in.q, in.k, in.v, begin, Tensor{}, c.args(), *stream_);
    ops_->attention_backward(dq, dk, dv, in.d_o, in.q, in.k, in.v, o, lse, begin, Tensor{}, c.args(), *stream_);
    return {read(o), read(lse), read(dq), read(dk), read(dv)};
  }

  /// Largest error over the largest value. bf16 keeps 8 bits of inputs, probabilities and results; f32 sums of up to
  /// 200 terms keep about 20.
  void expect_near(const Values& found, const Values& wanted, const char* what) {
    ASSERT_EQ(found.size(), wanted.size());
    const double bound = dtype_ == DType::f64 ? 1e-13 : dtype_ == DType::f32 ? 2e-6 : 1e-2;
    double largest = 1e-30, error = -1;
    std::size_t worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      largest = std::max(largest, std::abs(wanted[i]));
      if (const double e = std::abs(found[i] - wanted[i]); !(e <= error)) worst = i, error = e;
    }
    EXPECT_LE(error, bound * largest) << what << ": worst at " << worst << ", found " << found[worst] << ", wanted "
                                      << wanted[worst];
  }
  static void expect_same_bits(const Values& found, const Values& wanted, std::int64_t begin, const char* what) {
    for (std::size_t i = 0; i < found.size(); ++i)
      ASSERT_EQ(found[i], wanted[at(begin) + i]) << what << " differs at element " << i;
  }

  std::unique_ptr<Backend> ops_;
  std::unique_ptr<Stream> stream_;
  DType dtype_;
};

inline std::vector<AttentionSetting> attention_settings() {
  std::vector<AttentionSetting> all;
  for (const std::string& device : available_devices())
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) all.push_back({device, dtype});
  return all;
}
inline std::string attention_setting_name(const testing::TestParamInfo<AttentionSetting>& info) {
  std::string name = info.param.device + "_" + std::string(to_string(info.param.dtype));
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

}  // namespace athanor
