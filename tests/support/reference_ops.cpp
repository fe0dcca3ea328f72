#include "tests/support/reference_ops.hpp"

#include <cmath>

#include "tests/support/reference_index.hpp"

namespace athanor::reference {
namespace {
std::int64_t rows_of(const Values& values, std::int64_t width) {
  return static_cast<std::int64_t>(values.size()) / width;
}
}  // namespace

Values gather_rows(const Values& src_ND, const Ids& ids_R, std::int64_t width) {
  Values out;
  for (const auto id : ids_R)
    for (std::int64_t i = 0; i < width; ++i) out.push_back(src_ND[u(id * width + i)]);
  return out;
}

Values scatter_rows(Values dst_ND, const Values& src_RD, const Ids& ids_R, std::int64_t width) {
  for (std::size_t r = 0; r < ids_R.size(); ++r)
    for (std::size_t i = 0; i < u(width); ++i) dst_ND[u(ids_R[r]) * u(width) + i] = src_RD[r * u(width) + i];
  return dst_ND;
}

Values scatter_add_rows(Values dst_ND, const Values& src_RD, const Ids& ids_R, std::int64_t width) {
  for (std::size_t r = 0; r < ids_R.size(); ++r)
    for (std::size_t i = 0; i < u(width); ++i) dst_ND[u(ids_R[r]) * u(width) + i] += src_RD[r * u(width) + i];
  return dst_ND;
}

Values concat_columns(const Values& a_TA, std::int64_t a_width, const Values& b_TB, std::int64_t b_width) {
  Values out;
  for (std::int64_t t = 0; t < rows_of(a_TA, a_width); ++t) {
    for (std::int64_t i = 0; i < a_width; ++i) out.push_back(a_TA[u(t * a_width + i)]);
    for (std::int64_t i = 0; i < b_width; ++i) out.push_back(b_TB[u(t * b_width + i)]);
  }
  return out;
}

Columns split_columns(const Values& in, std::int64_t a_width, std::int64_t b_width) {
  Columns out;
  const std::int64_t width = a_width + b_width;
  for (std::size_t i = 0; i < in.size(); ++i) (i % u(width) < u(a_width) ? out.a : out.b).push_back(in[i]);
  return out;
}

Values add(const Values& a, const Values& b) {
  Values out(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) out[i] = a[i] + b[i];
  return out;
}

Values scale(Values x, double factor) {
  for (double& value : x) value *= factor;
  return x;
}

Values add_bias(Values x_TO, const Values& b_O) {
  for (std::size_t i = 0; i < x_TO.size(); ++i) x_TO[i] += b_O[i % b_O.size()];
  return x_TO;
}

Values bias_backward(Values db_O, const Values& dy_TO) {
  for (std::size_t i = 0; i < dy_TO.size(); ++i) db_O[i % db_O.size()] += dy_TO[i];
  return db_O;
}

Values swiglu_forward(const Values& gate, const Values& up) {
  Values out(gate.size());
  for (std::size_t i = 0; i < gate.size(); ++i) out[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
  return out;
}

SwigluGradient swiglu_backward(const Values& dy, const Values& gate, const Values& up) {
  SwigluGradient out{Values(dy.size()), Values(dy.size())};
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const double g = gate[i], e = std::exp(-g);
    const double silu = g / (1.0 + e), slope = 1.0 / (1.0 + e) + g * e / ((1.0 + e) * (1.0 + e));
    out.dgate[i] = dy[i] * up[i] * slope;
    out.dup[i] = dy[i] * silu;
  }
  return out;
}

Values gemm(const Values& a, Transpose transpose_a, const Values& b, Transpose transpose_b, std::int64_t m,
            std::int64_t n, std::int64_t k) {
  Values c(u(m * n));
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      for (std::int64_t l = 0; l < k; ++l)
        c[u(i * n + j)] += (transpose_a == Transpose::yes ? a[u(l * m + i)] : a[u(i * k + l)]) *
                           (transpose_b == Transpose::yes ? b[u(j * k + l)] : b[u(l * n + j)]);
  return c;
}

Values grouped_gemm(const Values& x_RI, const Values& w_EOI, const Ids& offsets_E1, std::int64_t out, std::int64_t in) {
  Values y(u(rows_of(x_RI, in) * out));
  for (std::size_t e = 0; e + 1 < offsets_E1.size(); ++e)
    for (std::int64_t r = offsets_E1[e]; r < offsets_E1[e + 1]; ++r)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i)
          y[u(r * out + o)] += x_RI[u(r * in + i)] * w_EOI[e * u(out * in) + u(o * in + i)];
  return y;
}

Values grouped_gemm_backward_input(const Values& dy_RO, const Values& w_EOI, const Ids& offsets_E1, std::int64_t out,
                                   std::int64_t in) {
  Values dx(u(rows_of(dy_RO, out) * in));
  for (std::size_t e = 0; e + 1 < offsets_E1.size(); ++e)
    for (std::int64_t r = offsets_E1[e]; r < offsets_E1[e + 1]; ++r)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i)
          dx[u(r * in + i)] += dy_RO[u(r * out + o)] * w_EOI[e * u(out * in) + u(o * in + i)];
  return dx;
}

Values grouped_gemm_backward_weight(const Values& dy_RO, const Values& x_RI, const Ids& offsets_E1, std::int64_t out,
                                    std::int64_t in) {
  Values dw((offsets_E1.size() - 1) * u(out * in));
  for (std::size_t e = 0; e + 1 < offsets_E1.size(); ++e)
    for (std::int64_t r = offsets_E1[e]; r < offsets_E1[e + 1]; ++r)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i)
          dw[e * u(out * in) + u(o * in + i)] += dy_RO[u(r * out + o)] * x_RI[u(r * in + i)];
  return dw;
}

Values per_head_gemm(const Values& x, const Values& w, std::int64_t num_heads, std::int64_t stride, std::int64_t first,
                     std::int64_t count, std::int64_t w_columns, Transpose transpose) {
  const std::int64_t in = transpose == Transpose::no ? w_columns : count;
  const std::int64_t out = transpose == Transpose::no ? count : w_columns;
  const std::int64_t rows = rows_of(x, num_heads * in);
  Values y(u(rows * num_heads * out));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t h = 0; h < num_heads; ++h)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t i = 0; i < in; ++i) {
          const std::int64_t w_row = h * stride + first + (transpose == Transpose::no ? o : i);
          const std::int64_t w_column = transpose == Transpose::no ? i : o;
          y[u((r * num_heads + h) * out + o)] +=
              x[u((r * num_heads + h) * in + i)] * w[u(w_row * w_columns + w_column)];
        }
  return y;
}

Normed rms_norm_forward(const Values& x_TD, const Values& w_D, double eps) {
  const auto width = static_cast<std::int64_t>(w_D.size());
  Normed out{Values(x_TD.size()), {}};
  for (std::int64_t t = 0; t < rows_of(x_TD, width); ++t) {
    double squares = 0.0;
    for (std::int64_t i = 0; i < width; ++i) squares += x_TD[u(t * width + i)] * x_TD[u(t * width + i)];
    out.rstd_T.push_back(1.0 / std::sqrt(squares / static_cast<double>(width) + eps));
    for (std::int64_t i = 0; i < width; ++i)
      out.y[u(t * width + i)] = x_TD[u(t * width + i)] * out.rstd_T.back() * w_D[u(i)];
  }
  return out;
}

Values rms_norm_backward_input(const Values& dy_TD, const Values& x_TD, const Values& w_D, double eps) {
  const auto width = static_cast<std::int64_t>(w_D.size());
  const Values rstd_T = rms_norm_forward(x_TD, w_D, eps).rstd_T;
  Values dx(x_TD.size());
  for (std::int64_t t = 0; t < rows_of(x_TD, width); ++t)
    for (std::int64_t j = 0; j < width; ++j)
      for (std::int64_t i = 0; i < width; ++i) {
        // dy_i/dx_j = w_i (delta_ij rstd - x_i x_j rstd^3 / D).
        const double r = rstd_T[u(t)];
        const double slope = (i == j ? r : 0.0) -
                             x_TD[u(t * width + i)] * x_TD[u(t * width + j)] * r * r * r / static_cast<double>(width);
        dx[u(t * width + j)] += dy_TD[u(t * width + i)] * w_D[u(i)] * slope;
      }
  return dx;
}

Values rms_norm_backward_weight(const Values& dy_TD, const Values& x_TD, std::int64_t width, double eps) {
  const Values rstd_T = rms_norm_forward(x_TD, Values(u(width), 1.0), eps).rstd_T;
  Values dw(u(width));
  for (std::size_t i = 0; i < x_TD.size(); ++i) dw[i % u(width)] += dy_TD[i] * x_TD[i] * rstd_T[i / u(width)];
  return dw;
}

Values rope(Values x_TC, const Ids& positions_T, const Values& cos_PR, const Values& sin_PR, const RopeArgs& args) {
  const std::int64_t pairs = args.rope_dim / 2;
  for (std::size_t t = 0; t < positions_T.size(); ++t)
    for (std::int64_t h = 0; h < args.num_heads; ++h)
      for (std::int64_t i = 0; i < pairs; ++i) {
        const std::int64_t head = (static_cast<std::int64_t>(t) * args.num_heads + h) * args.head_dim + args.offset;
        const bool interleaved = args.layout == RopeLayout::interleaved;
        double& a = x_TC[u(head + (interleaved ? 2 * i : i))];
        double& b = x_TC[u(head + (interleaved ? 2 * i + 1 : i + pairs))];
        const double c = cos_PR[u(positions_T[t] * pairs + i)];
        const double s = sin_PR[u(positions_T[t] * pairs + i)] * (args.inverse ? -1.0 : 1.0);
        const double turned_a = a * c - b * s, turned_b = a * s + b * c;
        a = turned_a;
        b = turned_b;
      }
  return x_TC;
}

}  // namespace athanor::reference
