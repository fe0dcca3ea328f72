// Attention, its backward and the MLA helpers: against obvious f64 loops, by finite differences, and by the law that a
// row has the same bits whatever its company, its kernel and the threads.
#include <omp.h>

#include "tests/src/backend/attention_fixture.hpp"

namespace athanor {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Backends, AttentionTest, testing::ValuesIn(attention_settings()), attention_setting_name);

}  // namespace
}  // namespace athanor
