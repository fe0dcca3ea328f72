// What attention on CUDA promises beyond attention_test.cpp: keys merged by stretches, the same bits walked or cut over
// blocks; explicit key ranges; launches that a GPU accepts.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <ostream>
#include <vector>

#include "src/backend/cuda/attention.hpp"
#include "src/backend/cuda/attention_kernels.cuh"
#include "src/backend/cuda/cuda_arena.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

using Values = std::vector<double>;
using Ids = std::vector<std::int32_t>;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

template <class Param>
class CudaAttentionTestBase : public testing::TestWithParam<Param> {
 protected:
  explicit CudaAttentionTestBase(DType dtype) : dtype_(dtype) {}
  Tensor empty(const Shape& shape, DType dtype) { return ops_.empty(shape, dtype); }
  Tensor random(const Shape& shape, std::uint64_t stream, Values& held) {
    const Philox random(5, RandomPurpose::test, stream);
    Values values(at(shape.numel()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 2 * random.uniform(i) - 1;
    Tensor wide = empty(shape, DType::f64), tensor = empty(shape, dtype_);
    ops_.upload(wide, std::as_bytes(std::span(values)), stream_);
    ops_.copy(tensor, wide, stream_);
    held = read(tensor);
    return tensor;
  }
  Tensor ids(const Ids& values) {
    Tensor tensor = empty({static_cast<std::int64_t>(values.size())}, DType::i32);
    ops_.upload(tensor, std::as_bytes(std::span(values)), stream_);
    return tensor;
  }
  Values read(const Tensor& tensor) {
    Tensor wide = empty(tensor.shape(), DType::f64);
    ops_.copy(wide, tensor, stream_);
    Values values(at(tensor.numel()));
    ops_.download(std::as_writable_bytes(std::span(values)), wide, stream_);
    stream_.synchronize();
    return values;
  }
  /// bf16 keeps 8 bits of inputs, weights and results; f32 sums of some thousand terms about 18.
  double bound() const { return dtype_ == DType::f64 ? 1e-12 : dtype_ == DType::f32 ? 1e-5 : 1e-2; }

  const DType dtype_;
  cuda::CudaBackend ops_{0};
  Arena& arena_ = ops_.arena();
  cuda::CudaStream stream_{0};
};

class CudaAttentionTest : public CudaAttentionTestBase<DType> {
 protected:
  CudaAttentionTest() : CudaAttentionTestBase(GetParam()) {}
};

struct Reference {
  Values o, lse, dq, dk, dv;
};

/// Attention of rows t to keys [begin_T[t], end_T[t]) and its gradients, in plain loops.
Reference reference(const Values& q, const Values& k, const Values& v, const Values& d_o, const Ids& begin_T,
                    const Ids& end_T, const AttentionArgs& a) {
  const auto tokens = static_cast<std::int64_t>(begin_T.size());
  Reference out{Values(at(tokens * a.num_heads * a.v_dim)), Values(at(tokens * a.num_heads)), Values(q.size()),
                Values(k.size()), Values(v.size())};
  for (std::int64_t row = 0; row < tokens * a.num_heads; ++row) {
    const std::int64_t t = row / a.num_heads, g = row % a.num_heads / (a.num_heads / a.num_kv_heads);
    Values p;
    double total = 0, delta = 0;
    const auto kv = [&](std::size_t j) { return (begin_T[at(t)] + static_cast<std::int64_t>(j)) * a.num_kv_heads + g; };
    for (std::size_t j = 0; j < at(end_T[at(t)] - begin_T[at(t)]); ++j) {
      double s = 0;
      for (std::int64_t d = 0; d < a.qk_dim; ++d) s += q[at(row * a.qk_dim + d)] * k[at(kv(j) * a.qk_dim + d)];
      p.push_back(std::exp(s * a.scale));
      total += p.back();
    }
    out.lse[at(row)] = std::log(total);
    for (double& weight : p) weight /= total;
    for (std::int64_t d = 0; d < a.v_dim; ++d) {
      double& o = out.o[at(row * a.v_dim + d)];
      for (std::size_t j = 0; j < p.size(); ++j) o += p[j] * v[at(kv(j) * a.v_dim + d)];
      delta += o * d_o[at(row * a.v_dim + d)];
    }
    for (std::size_t j = 0; j < p.size(); ++j) {
      double dp = 0;
      for (std::int64_t d = 0; d < a.v_dim; ++d) {
        dp += d_o[at(row * a.v_dim + d)] * v[at(kv(j) * a.v_dim + d)];
        out.dv[at(kv(j) * a.v_dim + d)] += p[j] * d_o[at(row * a.v_dim + d)];
      }
      const double ds = p[j] * (dp - delta) * a.scale;
      for (std::int64_t d = 0; d < a.qk_dim; ++d) {
        out.dq[at(row * a.qk_dim + d)] += ds * k[at(kv(j) * a.qk_dim + d)];
        out.dk[at(kv(j) * a.qk_dim + d)] += ds * q[at(row * a.qk_dim + d)];
      }
    }
  }
  return out;
}

void expect_near(const Values& found, const Values& wanted, double bound, const char* what) {
  ASSERT_EQ(found.size(), wanted.size());
  double largest = 0;
  for (const double value : wanted) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], wanted[i], bound * largest) << what << " at " << i;
}

// Promise: rows longer than a split agree with the formula, and have the same bits whether a block walks all splits
// (training, explicit ranges) or every split has a block (decode).
TEST_P(CudaAttentionTest, LongRowsHaveTheSameBitsWalkedAndCut) {
  const AttentionArgs args{2, 1, 10, 6, 0.4};
  const Ids begin{0, 0, 0, 0}, end{5, 1024, 1025, 2200};
  const std::int64_t keys = 2208, rows = 4;
  Ids in_order;
  for (std::int32_t page = 0; page < keys / 16; ++page) in_order.push_back(page);
  const Tensor pages_SP = ids(in_order).reshaped({1, keys / 16});
  Values q, k, v;
  const Tensor q_T = random({rows, 2 * 10}, 1, q), k_T = random({keys, 10}, 2, k), v_T = random({keys, 6}, 3, v);
  Tensor o = empty({rows, 2 * 6}, GetParam()), lse = empty({rows, 2}, accumulation_dtype(GetParam()));
  const Reference wanted = reference(q, k, v, Values(at(o.numel())), begin, end, args);

  cuda::attention_forward(o, lse, q_T, k_T, v_T, ids(begin), ids(end), args, true, arena_, stream_);
  const Values walked = read(o);
  expect_near(walked, wanted.o, bound(), "o");
  expect_near(read(lse), wanted.lse, bound(), "lse");

  for (std::int64_t r = 0; r < rows; ++r) {
    Tensor o_1 = empty({1, 2 * 6}, GetParam());
    cuda::attention_cached(o_1, q_T.rows(r, r + 1), k_T, v_T, pages_SP, ids({0}), ids({end[at(r)]}), 16, args, arena_,
                           stream_);
    const Values cut = read(o_1);
    for (std::size_t i = 0; i < cut.size(); ++i) ASSERT_EQ(cut[i], walked[at(r) * cut.size() + i]) << "row " << r;
  }
}

// Promise: with explicit ranges forward and backward are those of the formula, also where keys are seen by no query
// (gradient 0) and stretches of queries see keys of their own.
TEST_P(CudaAttentionTest, ExplicitRangesForwardAndBackward) {
  const AttentionArgs args{4, 2, 12, 8, 0.3};
  Ids begin, end;
  for (int t = 0; t < 40; ++t) begin.push_back(3), end.push_back(20 + 3 * t);
  for (int t = 0; t < 30; ++t) begin.push_back(150 + t), end.push_back(190 + 2 * t);
  const std::int64_t rows = 70, keys = 260;
  Values q, k, v, d_o;
  const Tensor q_T = random({rows, 4 * 12}, 1, q), k_T = random({keys, 2 * 12}, 2, k),
               v_T = random({keys, 2 * 8}, 3, v), do_T = random({rows, 4 * 8}, 4, d_o);
  Tensor o = empty({rows, 4 * 8}, GetParam()), lse = empty({rows, 4}, accumulation_dtype(GetParam()));
  Tensor dq = empty(q_T.shape(), GetParam()), dk = empty(k_T.shape(), GetParam()), dv = empty(v_T.shape(), GetParam());
  const Reference wanted = reference(q, k, v, d_o, begin, end, args);

  cuda::attention_forward(o, lse, q_T, k_T, v_T, ids(begin), ids(end), args, false, arena_, stream_);
  cuda::attention_backward(dq, dk, dv, do_T, q_T, k_T, v_T, o, lse, ids(begin), ids(end), args, arena_, stream_);

  expect_near(read(o), wanted.o, bound(), "o");
  expect_near(read(dq), wanted.dq, bound(), "dq");
  expect_near(read(dk), wanted.dk, bound(), "dk");
  expect_near(read(dv), wanted.dv, bound(), "dv");
}

// Promise: absorbed MLA of DeepSeek-V3's widths (two warps share a row's 512 columns), rows of two slots, one long.
TEST_P(CudaAttentionTest, AbsorbedWidths) {
  const AttentionArgs args{5, 1, 576, 512, 0.05};
  const std::int64_t page_rows = 64, rows_per_slot = 18 * page_rows;
  Ids pages;  // of slot 0 behind those of slot 1
  for (std::int32_t page = 0; page < 36; ++page) pages.push_back((page + 18) % 36);
  const Ids slots{0, 0, 1}, lengths{3, 70, 1090};
  Values q, cache;
  const Tensor q_R = random({3, 5 * 576}, 1, q), cache_S = random({2 * rows_per_slot, 576}, 2, cache);
  Tensor o = empty({3, 5 * 512}, GetParam());
  Values values;
  for (std::int64_t row = 0; row < 2 * rows_per_slot; ++row)
    values.insert(values.end(), cache.begin() + row * 576, cache.begin() + row * 576 + 512);
  const Ids begin{1152, 1152, 0}, end{1152 + 3, 1152 + 70, 1090};
  const Reference wanted = reference(q, cache, values, Values(at(o.numel())), begin, end, args);

  cuda::attention_cached(o, q_R, cache_S, {}, ids(pages).reshaped({2, 18}), ids(slots), ids(lengths), page_rows, args,
                         arena_, stream_);

  expect_near(read(o), wanted.o, bound(), "o");
}

struct Widths {
  AttentionArgs args;
  bool ranges;  ///< explicit ranges; else documents
  const char* name;
  friend std::ostream& operator<<(std::ostream& to, const Widths& one) { return to << one.name; }
};

/// bf16 of whole vectors: on Hopper its own kernels, elsewhere (ATHANOR_EMULATION_CAPABILITY=8) those of every GPU.
class CudaAttentionWidthsTest : public CudaAttentionTestBase<Widths> {
 protected:
  CudaAttentionWidthsTest() : CudaAttentionTestBase(DType::bf16) {}
};

// Promise: every shape of kernel agrees with the formula, over documents shorter and longer than tiles and over ranges
// that end inside them; rows of a document have the same bits alone as among others.
TEST_P(CudaAttentionWidthsTest, ForwardAndBackward) {
  const AttentionArgs& args = GetParam().args;
  Ids begin, end;
  std::int64_t keys = 0;
  if (GetParam().ranges) {
    for (int t = 0; t < 140; ++t) begin.push_back(3 + t / 4), end.push_back(20 + 2 * t);
    for (int t = 0; t < 30; ++t) begin.push_back(320 + t), end.push_back(360 + 2 * t);
    keys = 425;
  } else {
    for (const auto& [first, last] : {std::array{0, 5}, {5, 134}, {134, 300}})
      for (int t = first; t < last; ++t) begin.push_back(first), end.push_back(t + 1);
    keys = std::ssize(begin);
  }
  const std::int64_t rows = std::ssize(begin), q_width = args.num_heads * args.qk_dim,
                     v_width = args.num_kv_heads * args.v_dim;
  Values q, k, v, d_o;
  const Tensor q_T = random({rows, q_width}, 1, q), k_T = random({keys, args.num_kv_heads * args.qk_dim}, 2, k),
               v_T = random({keys, v_width}, 3, v), do_T = random({rows, args.num_heads * args.v_dim}, 4, d_o);
  Tensor o = empty(do_T.shape(), DType::bf16), lse = empty({rows, args.num_heads}, DType::f32);
  Tensor dq = empty(q_T.shape(), DType::bf16), dk = empty(k_T.shape(), DType::bf16),
         dv = empty(v_T.shape(), DType::bf16);
  const Reference wanted = reference(q, k, v, d_o, begin, end, args);
  const Tensor ends = GetParam().ranges ? ids(end) : Tensor{};

  cuda::attention_forward(o, lse, q_T, k_T, v_T, ids(begin), ends, args, false, arena_, stream_);
  cuda::attention_backward(dq, dk, dv, do_T, q_T, k_T, v_T, o, lse, ids(begin), ends, args, arena_, stream_);

  expect_near(read(o), wanted.o, bound(), "o");
  expect_near(read(lse), wanted.lse, bound(), "lse");
  expect_near(read(dq), wanted.dq, bound(), "dq");
  expect_near(read(dk), wanted.dk, bound(), "dk");
  expect_near(read(dv), wanted.dv, bound(), "dv");

  if (GetParam().ranges) return;
  const std::int64_t first = 134;
  Tensor alone = empty(do_T.rows(first, rows).shape(), DType::bf16),
         lse_alone = empty({rows - first, args.num_heads}, DType::f32);
  const Ids zeros(at(rows - first));
  cuda::attention_forward(alone, lse_alone, q_T.rows(first, rows), k_T.rows(first, rows), v_T.rows(first, rows),
                          ids(zeros), {}, args, false, arena_, stream_);
  EXPECT_EQ(read(alone), read(o.rows(first, rows)));
}

INSTANTIATE_TEST_SUITE_P(Widths, CudaAttentionWidthsTest,
                         testing::Values(Widths{{2, 2, 64, 64, 0.125}, false, "64_64"},
                                         Widths{{3, 1, 40, 24, 0.2}, true, "40_24_ranges"},
                                         Widths{{2, 1, 128, 128, 0.09}, false, "128_128"},
                                         Widths{{2, 1, 128, 128, 0.09}, true, "128_128_ranges"},
                                         Widths{{2, 2, 192, 128, 0.07}, false, "192_128"},
                                         Widths{{1, 1, 192, 128, 0.07}, true, "192_128_ranges"},
                                         Widths{{1, 1, 256, 256, 0.06}, false, "256_256"}),
                         [](const auto& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(Types, CudaAttentionTest, testing::Values(DType::f64, DType::f32, DType::bf16),
                         [](const auto& info) { return std::string(to_string(info.param)); });

// Promise: the widths of the models we build run, in memory that a block may have; wider ones are refused by name.
TEST(CudaAttentionLaunch, ShapesFitTheDevice) {
  using cuda::TileLaunch;
  const auto fits = [](const TileLaunch& launch) {
    return launch.blocks_per_processor > 0 && launch.shared_bytes > 0 &&
           launch.shared_bytes <= cuda::kSharedBytesOfBlock && launch.rows_per_tile > 0;
  };
  for (const auto& [qk, v] : {std::array{16, 16}, {64, 64}, {128, 128}, {192, 128}, {256, 256}}) {
    EXPECT_TRUE(fits(cuda::attend_launch_bf16(qk, v, false))) << qk << ", " << v;
    EXPECT_TRUE(fits(cuda::attend_launch_f32(qk, v, false))) << qk << ", " << v;
    EXPECT_TRUE(fits(cuda::attend_launch_f64(qk, v, false))) << qk << ", " << v;
    for (const auto& launch : {cuda::attend_backward_launch_bf16(qk, v), cuda::attend_backward_launch_f32(qk, v),
                               cuda::attend_backward_launch_f64(qk, v)}) {
      EXPECT_TRUE(fits(launch.keys)) << qk << ", " << v;
      EXPECT_TRUE(fits(launch.queries)) << qk << ", " << v;
    }
  }
  EXPECT_TRUE(fits(cuda::attend_launch_bf16(576, 512, true)));
  EXPECT_TRUE(fits(cuda::attend_launch_f32(576, 512, true)));
  EXPECT_TRUE(fits(cuda::attend_launch_f64(576, 512, true)));
  EXPECT_FALSE(fits(cuda::attend_launch_bf16(320, 320, false)));
  EXPECT_FALSE(fits(cuda::attend_launch_f64(2048, 2048, false)));
  EXPECT_GE(cuda::attend_launch_bf16(192, 128, false).blocks_per_processor, 2);

  cuda::CudaArena arena(0);
  cuda::CudaStream stream(0);
  const Tensor q(arena.allocate(2 * 300 * 4), 0, {4, 300}, DType::bf16, Device{Device::Kind::cuda, 0});
  const Tensor lse(arena.allocate(16), 0, {4, 1}, DType::f32, Device{Device::Kind::cuda, 0});
  const Tensor begin(arena.allocate(16), 0, {4}, DType::i32, Device{Device::Kind::cuda, 0});
  EXPECT_THROW(cuda::attention_forward(q, lse, q, q, q, begin, {}, {1, 1, 300, 300, 1.0}, false, arena, stream), Error);
}

}  // namespace
}  // namespace athanor
