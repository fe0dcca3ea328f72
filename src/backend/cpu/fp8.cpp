// Matrix products in FP8, shared out over threads.
#include <omp.h>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/fp8_product.hpp"
#include "src/backend/cpu/kernel.hpp"

namespace athanor {
namespace {

using cpu::data;

/// Shares the rows of a product out over threads.
template <class Out>
void product_by_rows(const cpu::Fp8Product& whole, const cpu::Fp8Rows& a, const cpu::Fp8Rows& b, Out* c) {
  const std::int64_t pieces = std::min<std::int64_t>(omp_get_max_threads(), whole.m),
                     rows = (whole.m + pieces - 1) / pieces;
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(pieces))
  for (std::int64_t i = 0; i < pieces; ++i) {
    cpu::Fp8Product part = whole;
    part.m = std::min(rows, whole.m - i * rows);
    if (part.m <= 0) continue;
    cpu::Fp8Rows from = a;
    from.values += i * rows * a.stride;
    from.scales.data += i * rows * a.scales.by_row;
    cpu::multiply(part, from, b, c + i * rows * whole.ldc);
  }
}

template <class F>
void dispatch_output(DType dtype, const F& f) {
  if (dtype == DType::bf16) return f(bf16{});
  f(float{});
}

}  // namespace

void CpuBackend::gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, Stream& stream) {
  require_fp8_product("gemm_fp8", y_MN, a_MK, b_NK, Tensor{});
  Fp8Scales a_scales = require_fp8("gemm_fp8", a_MK), b_scales = require_fp8("gemm_fp8", b_NK);
  const cpu::Fp8Product p{a_MK.values.dim(0), b_NK.values.dim(0), a_MK.values.dim(1), b_NK.values.dim(0), accumulate};
  if (p.m == 0 || p.n == 0) return;
  dispatch_output(y_MN.dtype(), [&](auto type) {
    using Out = decltype(type);
    run_on(stream, [=]() mutable {
      a_scales.data = data<float>(a_MK.scales);
      b_scales.data = data<float>(b_NK.scales);
      product_by_rows(p, {data<std::uint8_t>(a_MK.values), p.k, a_scales},
                      {data<std::uint8_t>(b_NK.values), p.k, b_scales}, data<Out>(y_MN));
    });
  });
}

void CpuBackend::grouped_gemm_fp8(Tensor y_RN, const Fp8Matrix& a_RK, const Fp8Matrix& b_ENK, const Tensor& offsets_E1,
                                  bool accumulate, Stream& stream) {
  require_fp8_product("grouped_gemm_fp8", y_RN, a_RK, b_ENK, offsets_E1);
  require(b_ENK.tiles == Fp8Tiles::blocks, "grouped_gemm_fp8", "weights by blocks", b_ENK.values);
  Fp8Scales a_scales = require_fp8("grouped_gemm_fp8", a_RK), b_scales = require_fp8("grouped_gemm_fp8", b_ENK);
  const std::int64_t groups = b_ENK.values.dim(0), n = b_ENK.values.dim(1), k = b_ENK.values.dim(2);
  dispatch_output(y_RN.dtype(), [&](auto type) {
    using Out = decltype(type);
    run_on(stream, [=]() mutable {
      const auto* offsets = data<std::int32_t>(offsets_E1);
      a_scales.data = data<float>(a_RK.scales);
      b_scales.data = data<float>(b_ENK.scales);
#pragma omp parallel for schedule(dynamic)
      for (std::int64_t e = 0; e < groups; ++e) {
        const std::int64_t begin = offsets[e], rows = offsets[e + 1] - begin;
        if (rows == 0) continue;
        Fp8Scales mine = a_scales, weights = b_scales;
        mine.data += begin;
        weights.data += e * b_scales.by_group;
        cpu::multiply(cpu::Fp8Product{rows, n, k, n, accumulate},
                      {data<std::uint8_t>(a_RK.values) + begin * k, k, mine},
                      {data<std::uint8_t>(b_ENK.values) + e * n * k, k, weights}, data<Out>(y_RN) + begin * n);
      }
    });
  });
}

void CpuBackend::grouped_gemm_fp8_weight(Tensor dw_EMN, const Fp8Matrix& a_MS, const Fp8Matrix& b_NS,
                                         const Tensor& offsets_E1, Stream& stream) {
  require_fp8_weight_product("grouped_gemm_fp8_weight", dw_EMN, a_MS, b_NS, offsets_E1);
  const std::int64_t groups = dw_EMN.dim(0), m = dw_EMN.dim(1), n = dw_EMN.dim(2), places = a_MS.values.dim(1);
  run_on(stream, [=] {
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t e = 0; e < groups; ++e)
      cpu::for_fp8_groups(data<std::int32_t>(offsets_E1), e + 1, 0,
                          [&](std::int64_t group, std::int64_t begin, std::int64_t end, std::int64_t place) {
                            if (group != e || begin == end) return;
                            const auto operand = [&](const Fp8Matrix& matrix, std::int64_t rows) {
                              const Fp8Scales scales{.data = data<float>(matrix.scales) + place / kFp8Tile * rows,
                                                     .by_tile = rows,
                                                     .by_row = 1};
                              return cpu::Fp8Rows{data<std::uint8_t>(matrix.values) + place, places, scales};
                            };
                            cpu::multiply(cpu::Fp8Product{m, n, fp8_tiles(end - begin) * kFp8Tile, n, true},
                                          operand(a_MS, m), operand(b_NS, n), data<float>(dw_EMN) + e * m * n);
                          });
  });
}

}  // namespace athanor
