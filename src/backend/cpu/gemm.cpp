// Matrix products of the CPU back end: rows (or experts) are shared out over threads, each piece is one product on one
// thread (matrix_product.hpp), so results do not depend on the number of threads.
#include <omp.h>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/matrix_product.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::MatrixProduct;

constexpr std::int64_t kRowGranule = 16;
constexpr double kFlopsWorthAThread = 1e6;

/// Calls f(In{}, Out{}) for the type pairs a product knows: (f64,f64), (f32,f32), (bf16,bf16), (bf16,f32).
template <class F>
void dispatch_product(DType in, DType out, std::string_view op, F&& f) {
  if (in == DType::f64 && out == DType::f64) return f(double{}, double{});
  if (in == DType::f32 && out == DType::f32) return f(float{}, float{});
  if (in == DType::bf16 && out == DType::bf16) return f(bf16{}, bf16{});
  if (in == DType::bf16 && out == DType::f32) return f(bf16{}, float{});
  throw Error(std::string(op) + ": no product of " + std::string(to_string(in)) + " operands into " +
              std::string(to_string(out)));
}

/// Shares the rows of C out over threads in multiples of 16.
template <class In, class Out>
void product_by_rows(const MatrixProduct& whole, const In* a, const In* b, Out* c) {
  const double flops = 2.0 * static_cast<double>(whole.m) * static_cast<double>(whole.n) * static_cast<double>(whole.k);
  const int threads = omp_get_max_threads();
  const std::int64_t pieces =
      flops < kFlopsWorthAThread ? 1 : std::min<std::int64_t>(threads, (whole.m + kRowGranule - 1) / kRowGranule);
  const std::int64_t rows = ((whole.m + pieces - 1) / pieces + kRowGranule - 1) / kRowGranule * kRowGranule;
  const auto run = [&](std::int64_t i) {
    const std::int64_t begin = i * rows, end = std::min(whole.m, begin + rows);
    if (begin >= end) return;
    MatrixProduct part = whole;
    part.m = end - begin;
    cpu::multiply(part, a + (whole.transpose_a == Transpose::yes ? begin : begin * whole.lda), b,
                  c + begin * whole.ldc);
  };
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(pieces))
  for (std::int64_t i = 0; i < pieces; ++i) run(i);
}

/// Runs f(expert, first row, last row) for pieces of each expert's rows, shared over threads.
template <class F>
void for_expert_rows(const std::int32_t* offsets, std::int64_t num_experts, std::int64_t piece_rows, const F& f) {
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t e = 0; e < num_experts; ++e)
    for (std::int64_t begin = offsets[e]; begin < offsets[e + 1]; begin += piece_rows)
      f(e, begin, std::min<std::int64_t>(begin + piece_rows, offsets[e + 1]));
}

void require_grouped(std::string_view op, const Tensor& rows_RX, const Tensor& w_EOI, const Tensor& offsets_E1,
                     std::int64_t width) {
  require(w_EOI.shape().ndim() == 3, op, "weights [E, O, I]", w_EOI);
  require(rows_RX.shape().back() == width, op, "rows as wide as the weights", rows_RX, w_EOI);
  require(offsets_E1.dtype() == DType::i32 && offsets_E1.numel() == w_EOI.dim(0) + 1, op, "i32 offsets [E+1]",
          offsets_E1, w_EOI);
}

}  // namespace

void CpuBackend::gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                      bool accumulate, Stream& stream) {
  const std::int64_t a_rows = a.shape().flat_rows(), a_columns = a.shape().back();
  const std::int64_t b_rows = b.shape().flat_rows(), b_columns = b.shape().back();
  MatrixProduct p{transpose_a, transpose_b};
  p.m = transpose_a == Transpose::yes ? a_columns : a_rows;
  p.k = transpose_a == Transpose::yes ? a_rows : a_columns;
  p.n = transpose_b == Transpose::yes ? b_rows : b_columns;
  p.lda = a_columns;
  p.ldb = b_columns;
  p.ldc = p.n;
  p.accumulate = accumulate;
  require((transpose_b == Transpose::yes ? b_columns : b_rows) == p.k, "gemm", "inner sizes that agree", a, b);
  require(
      c.shape().flat_rows() == p.m && c.shape().back() == p.n, "gemm",
      [&] { return "an output of [" + std::to_string(p.m) + ", " + std::to_string(p.n) + "]"; }, c);
  require(a.dtype() == b.dtype(), "gemm", "operands of one type", a, b);
  dispatch_product(a.dtype(), c.dtype(), "gemm", [&](auto in, auto out) {
    using In = decltype(in);
    using Out = decltype(out);
    run_on(stream, [=] { product_by_rows(p, data<In>(a), data<In>(b), data<Out>(c)); });
  });
}

void CpuBackend::grouped_gemm(Tensor y_RO, const Tensor& x_RI, const Tensor& w_EOI, const Tensor& offsets_E1,
                              Stream& stream) {
  const std::int64_t num_experts = w_EOI.dim(0), out = w_EOI.dim(1), in = w_EOI.dim(2);
  require_grouped("grouped_gemm", x_RI, w_EOI, offsets_E1, in);
  require_grouped("grouped_gemm", y_RO, w_EOI, offsets_E1, out);
  dispatch_product(x_RI.dtype(), y_RO.dtype(), "grouped_gemm", [&](auto in_type, auto out_type) {
    using In = decltype(in_type);
    using Out = decltype(out_type);
    run_on(stream, [=] {
      for_expert_rows(data<std::int32_t>(offsets_E1), num_experts, 1024,
                      [&](std::int64_t e, std::int64_t begin, std::int64_t end) {
                        const MatrixProduct p{Transpose::no, Transpose::yes, end - begin, out, in, in, in, out, false};
                        cpu::multiply(p, data<In>(x_RI) + begin * in, data<In>(w_EOI) + e * out * in,
                                      data<Out>(y_RO) + begin * out);
                      });
    });
  });
}

void CpuBackend::grouped_gemm_backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& w_EOI,
                                             const Tensor& offsets_E1, bool accumulate, Stream& stream) {
  const std::int64_t num_experts = w_EOI.dim(0), out = w_EOI.dim(1), in = w_EOI.dim(2);
  require_grouped("grouped_gemm_backward_input", dx_RI, w_EOI, offsets_E1, in);
  require_grouped("grouped_gemm_backward_input", dy_RO, w_EOI, offsets_E1, out);
  dispatch_product(dy_RO.dtype(), dx_RI.dtype(), "grouped_gemm_backward_input", [&](auto in_type, auto out_type) {
    using In = decltype(in_type);
    using Out = decltype(out_type);
    run_on(stream, [=] {
      for_expert_rows(
          data<std::int32_t>(offsets_E1), num_experts, 1024, [&](std::int64_t e, std::int64_t begin, std::int64_t end) {
            const MatrixProduct p{Transpose::no, Transpose::no, end - begin, in, out, out, in, in, accumulate};
            cpu::multiply(p, data<In>(dy_RO) + begin * out, data<In>(w_EOI) + e * out * in,
                          data<Out>(dx_RI) + begin * in);
          });
    });
  });
}

void CpuBackend::grouped_gemm_backward_weight(Tensor dw_EOI, const Tensor& dy_RO, const Tensor& x_RI,
                                              const Tensor& offsets_E1, Stream& stream) {
  const std::int64_t num_experts = dw_EOI.dim(0), out = dw_EOI.dim(1), in = dw_EOI.dim(2);
  require_grouped("grouped_gemm_backward_weight", x_RI, dw_EOI, offsets_E1, in);
  require_grouped("grouped_gemm_backward_weight", dy_RO, dw_EOI, offsets_E1, out);
  require(dw_EOI.dtype() == accumulation_dtype(x_RI.dtype()), "grouped_gemm_backward_weight",
          "a gradient of the accumulation type", dw_EOI, x_RI);
  dispatch_product(x_RI.dtype(), dw_EOI.dtype(), "grouped_gemm_backward_weight", [&](auto in_type, auto out_type) {
    using In = decltype(in_type);
    using Out = decltype(out_type);
    run_on(stream, [=] {
      const auto* offsets = data<std::int32_t>(offsets_E1);
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t e = 0; e < num_experts; ++e) {
        const std::int64_t begin = offsets[e], rows = offsets[e + 1] - begin;
        const MatrixProduct p{Transpose::yes, Transpose::no, out, in, rows, out, in, in, true};
        cpu::multiply(p, data<In>(dy_RO) + begin * out, data<In>(x_RI) + begin * in, data<Out>(dw_EOI) + e * out * in);
      }
    });
  });
}

}  // namespace athanor
