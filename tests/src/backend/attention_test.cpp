// Attention, its backward, attention against a cache and the MLA helpers: against obvious f64 loops, by finite
// differences, and by the law that a row has the same bits whatever its company, its kernel and the threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <vector>

#include "src/backend/backend.hpp"

namespace athanor {
namespace {

using Values = std::vector<double>;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

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

/// Odd sizes around the borders of vectors and tiles, grouped heads, MLA widths, a window that crosses tiles.
const std::vector<Case> kCases = {
    {{1}, 1, 1, 2, 2},         {{7, 1, 40}, 3, 3, 5, 3},      {{33, 97}, 4, 2, 24, 16},
    {{150}, 2, 1, 48, 31},     {{64, 65, 3}, 4, 4, 40, 24},   {{131}, 1, 1, 192, 128},
    {{170}, 2, 2, 16, 16, 50}, {{20, 200}, 4, 1, 32, 48, 70}, {{90}, 2, 2, 17, 8},
};

struct Forward {
  Values o, lse;
};
struct Gradients {
  Values dq, dk, dv;
};

Forward reference_forward(const Case& c, const Values& q, const Values& k, const Values& v, Gradients* gradients,
                          const Values& d_o) {
  const AttentionArgs a = c.args();
  const auto begin = c.key_begin();
  const std::int64_t tokens = c.tokens(), group = a.num_heads / a.num_kv_heads;
  Forward out{Values(at(tokens * a.num_heads * a.v_dim)), Values(at(tokens * a.num_heads))};
  if (gradients) *gradients = {Values(q.size()), Values(k.size()), Values(v.size())};
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < a.num_heads; ++h) {
      const std::int64_t row = t * a.num_heads + h, first = begin[at(t)], keys = t + 1 - first;
      const auto kv = [&](std::int64_t j) { return (first + j) * a.num_kv_heads + h / group; };
      Values p(at(keys));
      double total = 0;
      for (std::int64_t j = 0; j < keys; ++j) {
        double s = 0;
        for (std::int64_t d = 0; d < a.qk_dim; ++d) s += q[at(row * a.qk_dim + d)] * k[at(kv(j) * a.qk_dim + d)];
        p[at(j)] = std::exp(s * a.scale);
        total += p[at(j)];
      }
      out.lse[at(row)] = std::log(total);
      double delta = 0;
      for (std::int64_t j = 0; j < keys; ++j) p[at(j)] /= total;
      for (std::int64_t d = 0; d < a.v_dim; ++d) {
        double& o = out.o[at(row * a.v_dim + d)];
        for (std::int64_t j = 0; j < keys; ++j) o += p[at(j)] * v[at(kv(j) * a.v_dim + d)];
        if (gradients) delta += o * d_o[at(row * a.v_dim + d)];
      }
      for (std::int64_t j = 0; gradients && j < keys; ++j) {
        double dp = 0;
        for (std::int64_t d = 0; d < a.v_dim; ++d) {
          dp += d_o[at(row * a.v_dim + d)] * v[at(kv(j) * a.v_dim + d)];
          gradients->dv[at(kv(j) * a.v_dim + d)] += p[at(j)] * d_o[at(row * a.v_dim + d)];
        }
        const double ds = p[at(j)] * (dp - delta) * a.scale;
        for (std::int64_t d = 0; d < a.qk_dim; ++d) {
          gradients->dq[at(row * a.qk_dim + d)] += ds * k[at(kv(j) * a.qk_dim + d)];
          gradients->dk[at(kv(j) * a.qk_dim + d)] += ds * q[at(row * a.qk_dim + d)];
        }
      }
    }
  return out;
}

struct Setting {
  std::string device;
  DType dtype;
};

class AttentionTest : public testing::TestWithParam<Setting> {
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

// Promise: output, lse and the three gradients are those of the formula, on every case.
TEST_P(AttentionTest, AgreesWithTheReference) {
  for (const Case& c : kCases) {
    SCOPED_TRACE("heads " + std::to_string(c.heads) + " of " + std::to_string(c.qk_dim) + "/" +
                 std::to_string(c.v_dim) + ", tokens " + std::to_string(c.tokens()));
    Values q, k, v, d_o;
    const Inputs in = inputs(c, &q, &k, &v, &d_o);
    Gradients gradients;
    const Forward wanted = reference_forward(c, q, k, v, &gradients, d_o);

    const Results found = run(c, in);

    expect_near(found.o, wanted.o, "o");
    expect_near(found.lse, wanted.lse, "lse");
    if (c.tokens() == 1) continue;  // one key: dq and dk are zero up to rounding
    expect_near(found.dq, gradients.dq, "dq");
    expect_near(found.dk, gradients.dk, "dk");
    expect_near(found.dv, gradients.dv, "dv");
  }
}

// Promise: the backward is the derivative of the forward (central differences of sum(o * d_o), f64).
TEST_P(AttentionTest, GradientsAreFiniteDifferences) {
  if (dtype_ != DType::f64) return;  // differences need f64
  const Case c{{5, 70}, 4, 2, 6, 5};
  Values q, k, v, d_o;
  const Results found = run(c, inputs(c, &q, &k, &v, &d_o));
  const auto loss = [&] {
    const auto o = run(c, {upload(q, {c.tokens(), c.heads * c.qk_dim}), upload(k, {c.tokens(), c.kv_heads * c.qk_dim}),
                           upload(v, {c.tokens(), c.kv_heads * c.v_dim}), upload(d_o, {c.tokens(), c.heads * c.v_dim})})
                       .o;
    double sum = 0;
    for (std::size_t i = 0; i < o.size(); ++i) sum += o[i] * d_o[i];
    return sum;
  };
  const auto check = [&](Values& x, const Values& gradient, const char* what) {
    for (std::size_t i = 3; i < x.size(); i += x.size() / 7) {
      constexpr double kStep = 1e-5;
      const double here = x[i];
      x[i] = here + kStep;
      const double above = loss();
      x[i] = here - kStep;
      const double below = loss();
      x[i] = here;
      EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-8) << what << " at " << i;
    }
  };
  check(q, found.dq, "dq");
  check(k, found.dk, "dk");
  check(v, found.dv, "dv");
}

// Promise: a document has the same bits, forward and backward, alone and among others, with any number of threads.
TEST_P(AttentionTest, ADocumentDoesNotDependOnItsCompany) {
  const Case all{{5, 130, 77, 64}, 4, 2, 24, 16};
  const Inputs in = inputs(all);
  const Results together = run(all, in);
  const int threads = omp_get_max_threads();
  std::int64_t begin = 0;
  for (const std::int64_t length : all.documents) {
    const std::int64_t end = begin + length;
    Case alone = all;
    alone.documents = {length};
    omp_set_num_threads(threads == 1 ? 2 : 1);
    const Results found =
        run(alone, {in.q.rows(begin, end), in.k.rows(begin, end), in.v.rows(begin, end), in.d_o.rows(begin, end)});
    omp_set_num_threads(threads);
    expect_same_bits(found.o, together.o, begin * all.heads * all.v_dim, "o");
    expect_same_bits(found.lse, together.lse, begin * all.heads, "lse");
    expect_same_bits(found.dq, together.dq, begin * all.heads * all.qk_dim, "dq");
    expect_same_bits(found.dk, together.dk, begin * all.kv_heads * all.qk_dim, "dk");
    expect_same_bits(found.dv, together.dv, begin * all.kv_heads * all.v_dim, "dv");
    begin = end;
  }
}

// Promise: reading keys and values from a cache, many rows of a slot at once (prefill) or one row a slot (decode),
// gives the bits of the training forward.
TEST_P(AttentionTest, CachedHasTheBitsOfTheForward) {
  for (const Case& c : {Case{{150}, 4, 2, 24, 16}, {{70}, 2, 2, 17, 9}, {{97}, 12, 1, 32, 40}, {{129}, 2, 2, 48, 31}}) {
    const Inputs in = inputs(c);
    const Values wanted = run(c, in).o;
    const std::int64_t tokens = c.tokens(), rows_per_slot = tokens + 11, slot = 1, o_width = c.heads * c.v_dim;
    Tensor k_cache = random({3 * rows_per_slot, c.kv_heads * c.qk_dim}, 7);
    Tensor v_cache = random({3 * rows_per_slot, c.kv_heads * c.v_dim}, 8);
    const std::int64_t first = slot * rows_per_slot;
    ops_->copy(k_cache.rows(first, first + tokens), in.k, *stream_);
    ops_->copy(v_cache.rows(first, first + tokens), in.v, *stream_);

    std::vector<std::int32_t> lengths;
    for (std::int64_t t = 0; t < tokens; ++t) lengths.push_back(static_cast<std::int32_t>(t + 1));
    const std::vector<std::int32_t> slots(at(tokens), static_cast<std::int32_t>(slot));
    Tensor o = ops_->empty({tokens, o_width}, dtype_);
    ops_->attention_cached(o, in.q, k_cache, v_cache, ids(slots), ids(lengths), rows_per_slot, c.args(), *stream_);
    expect_same_bits(read(o), wanted, 0, "prefill");

    for (const std::int64_t t : {std::int64_t{0}, std::int64_t{31}, std::int64_t{64}, tokens - 1}) {
      Tensor o_1 = ops_->empty({1, o_width}, dtype_);
      ops_->attention_cached(o_1, in.q.rows(t, t + 1), k_cache, v_cache, ids({1}), ids({lengths[at(t)]}), rows_per_slot,
                             c.args(), *stream_);
      expect_same_bits(read(o_1), wanted, t * o_width, "decode");
    }
  }
}

// Promise: with no value cache the values are the first entries of the key rows (absorbed MLA), for few and many heads,
// rows of several slots mixed; a row of length zero gives zeros.
TEST_P(AttentionTest, AbsorbedValuesAreTheFrontOfTheKeys) {
  for (const std::int64_t heads : {3, 20, 40}) {
    const std::int64_t rows_per_slot = 80, qk_dim = 40, v_dim = 32;
    const AttentionArgs args{heads, 1, qk_dim, v_dim, 0.2};
    const std::vector<std::int32_t> slots{2, 0, 0, 1, 2, 1}, lengths{80, 3, 66, 1, 17, 0};
    const std::int64_t rows = 6;
    Values q, cache, wanted(at(rows * heads * v_dim));
    const Tensor q_R = random({rows, heads * qk_dim}, 1, &q);
    const Tensor cache_S = random({3 * rows_per_slot, qk_dim}, 2, &cache);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t h = 0; h < heads; ++h) {
        double total = 0;
        for (std::int64_t j = 0; j < lengths[at(r)]; ++j) {
          const std::int64_t key = (slots[at(r)] * rows_per_slot + j) * qk_dim;
          double s = 0;
          for (std::int64_t d = 0; d < qk_dim; ++d) s += q[at((r * heads + h) * qk_dim + d)] * cache[at(key + d)];
          total += std::exp(s * args.scale);
          for (std::int64_t d = 0; d < v_dim; ++d)
            wanted[at((r * heads + h) * v_dim + d)] += std::exp(s * args.scale) * cache[at(key + d)];
        }
        for (std::int64_t d = 0; total > 0 && d < v_dim; ++d) wanted[at((r * heads + h) * v_dim + d)] /= total;
      }
    Tensor o = ops_->empty({rows, heads * v_dim}, dtype_);

    ops_->attention_cached(o, q_R, cache_S, {}, ids(slots), ids(lengths), rows_per_slot, args, *stream_);

    expect_near(read(o), wanted, "o");
  }
}

// Promise: each head multiplies by its own slice of the weight, plain and transposed.
TEST_P(AttentionTest, PerHeadProductsUseTheSliceOfTheHead) {
  const std::int64_t rows = 19, heads = 3, stride = 13, first = 4, count = 7, columns = 10;
  Values w;
  const Tensor w_M = random({heads * stride, columns}, 2, &w);
  for (const Transpose transpose : {Transpose::no, Transpose::yes}) {
    const std::int64_t in = transpose == Transpose::no ? columns : count;
    const std::int64_t out = transpose == Transpose::no ? count : columns;
    Values x, wanted(at(rows * heads * out));
    const Tensor x_R = random({rows, heads * in}, 1, &x);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 0; i < in; ++i)
          for (std::int64_t j = 0; j < out; ++j) {
            const std::int64_t row = h * stride + first + (transpose == Transpose::no ? j : i);
            wanted[at((r * heads + h) * out + j)] +=
                x[at((r * heads + h) * in + i)] * w[at(row * columns + (transpose == Transpose::no ? i : j))];
          }
    Tensor y = ops_->empty({rows, heads * out}, dtype_);

    ops_->per_head_gemm(y, x_R, w_M, heads, stride, first, count, transpose, *stream_);

    expect_near(read(y), wanted, "y");
  }
}

// Promise: keys are [own part | shared rotary part], values the rest, and the backward is the transpose of that map:
// <dk, k> + <dv, v> = <dkv, kv> + <dk_pe, k_pe>.
TEST_P(AttentionTest, MlaAssemblyAndItsTranspose) {
  const std::int64_t tokens = 37, heads = 3, nope = 5, rope = 4, value = 6;
  Values kv, k_pe, dk, dv;
  const Tensor kv_T = random({tokens, heads * (nope + value)}, 1, &kv), k_pe_T = random({tokens, rope}, 2, &k_pe);
  Tensor k_T = ops_->empty({tokens, heads * (nope + rope)}, dtype_), v_T = ops_->empty({tokens, heads * value}, dtype_);
  ops_->mla_assemble_kv(k_T, v_T, kv_T, k_pe_T, heads, *stream_);
  const Values k = read(k_T), v = read(v_T);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t i = 0; i < nope + rope; ++i)
        ASSERT_EQ(k[at((t * heads + h) * (nope + rope) + i)],
                  i < nope ? kv[at((t * heads + h) * (nope + value) + i)] : k_pe[at(t * rope + i - nope)]);
      for (std::int64_t i = 0; i < value; ++i)
        ASSERT_EQ(v[at((t * heads + h) * value + i)], kv[at((t * heads + h) * (nope + value) + nope + i)]);
    }

  const Tensor dk_T = random(k_T.shape(), 3, &dk), dv_T = random(v_T.shape(), 4, &dv);
  Tensor dkv_T = ops_->empty(kv_T.shape(), dtype_), dk_pe_T = ops_->empty(k_pe_T.shape(), dtype_);
  ops_->mla_assemble_kv_backward(dkv_T, dk_pe_T, dk_T, dv_T, heads, *stream_);
  const auto dot = [](const Values& a, const Values& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  const double bound = dtype_ == DType::bf16 ? 0.1 : dtype_ == DType::f32 ? 1e-5 : 1e-12;  // dk_pe rounds
  EXPECT_NEAR(dot(dk, k) + dot(dv, v), dot(read(dkv_T), kv) + dot(read(dk_pe_T), k_pe), bound);
}

// Promise: shapes that do not fit are refused at the call.
TEST_P(AttentionTest, RefusesShapesThatDoNotFit) {
  const Case c{{8}, 4, 3, 8, 8};  // 4 query heads on 3 key heads
  const Inputs in = inputs(c);
  EXPECT_THROW(run(c, in), Error);
  const Case narrow{{8}, 4, 2, 8, 8};
  EXPECT_THROW(run(narrow, in), Error);
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const std::string& device : available_devices())
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) all.push_back({device, dtype});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Backends, AttentionTest, testing::ValuesIn(settings()), [](const auto& info) {
  std::string name = info.param.device + "_" + std::string(to_string(info.param.dtype));
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

}  // namespace
}  // namespace athanor
