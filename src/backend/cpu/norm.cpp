// RMSNorm (Zhang & Sennrich 2019): y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps), statistics in the accumulation
// type. A row is summed in an order that depends on its width alone.
#include <cmath>

#include "src/backend/cpu/column_sums.hpp"
#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/lanes.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::for_lanes;
using cpu::load;
using cpu::parallel_rows;
using cpu::sum_lanes;

constexpr std::int64_t kPieceRows = 16;

/// Checks what the three operations share. @returns T and D.
std::pair<std::int64_t, std::int64_t> norm_shape(std::string_view op, const Tensor& x_TD, const Tensor& other_TD,
                                                 const Tensor& rstd_T) {
  const std::int64_t rows = x_TD.shape().flat_rows(), width = x_TD.shape().back();
  require(other_TD.numel() == x_TD.numel() && other_TD.dtype() == x_TD.dtype(), op, "rows of one size and type", x_TD,
          other_TD);
  require(rstd_T.numel() == rows && rstd_T.dtype() == accumulation_dtype(x_TD.dtype()), op,
          "one rstd a row, of the accumulation type", rstd_T, x_TD);
  return {rows, width};
}

}  // namespace

void CpuBackend::rms_norm_forward(Tensor y_TD, Tensor rstd_T, const Tensor& x_TD, const Tensor& w_D, double eps,
                                  Stream& stream) {
  const auto [rows, width] = norm_shape("rms_norm_forward", x_TD, y_TD, rstd_T);
  require(w_D.numel() == width && w_D.dtype() == x_TD.dtype(), "rms_norm_forward",
          "a weight of the rows' width and type", w_D, x_TD);
  cpu::dispatch_floating(x_TD.dtype(), "rms_norm_forward", [&, rows = rows, width = width](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      T* y_rows = data<T>(y_TD);
      Acc* rstds = data<Acc>(rstd_T);
      const T *x_rows = data<T>(x_TD), *w = data<T>(w_D);
      parallel_rows(rows, kPieceRows, width * std::int64_t{3 * sizeof(T)}, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          const T* x = x_rows + t * width;
          T* y = y_rows + t * width;
          const Acc squares = sum_lanes<Acc>(width, [=](auto at) {
            const auto value = at.load(x);
            return value * value;
          });
          const Acc rstd = Acc{1} / std::sqrt(squares / static_cast<Acc>(width) + static_cast<Acc>(eps));
          rstds[t] = rstd;
          for_lanes<Acc>(0, width, [=](auto at) { at.put(y, at.load(x) * rstd * at.load(w)); });
        }
      });
    });
  });
}

void CpuBackend::rms_norm_backward_input(Tensor dx_TD, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& w_D,
                                         const Tensor& rstd_T, const Tensor& dresidual_TD, Stream& stream) {
  const auto [rows, width] = norm_shape("rms_norm_backward_input", x_TD, dy_TD, rstd_T);
  norm_shape("rms_norm_backward_input", x_TD, dx_TD, rstd_T);
  if (dresidual_TD.defined()) norm_shape("rms_norm_backward_input", x_TD, dresidual_TD, rstd_T);
  require(w_D.numel() == width && w_D.dtype() == x_TD.dtype(), "rms_norm_backward_input",
          "a weight of the rows' width and type", w_D, x_TD);
  cpu::dispatch_floating(x_TD.dtype(), "rms_norm_backward_input", [&, rows = rows, width = width](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      T* dx_rows = data<T>(dx_TD);
      const Acc* rstds = data<Acc>(rstd_T);
      const T *dy_rows = data<T>(dy_TD), *x_rows = data<T>(x_TD), *w = data<T>(w_D);
      const T* residual_rows = dresidual_TD.defined() ? data<T>(dresidual_TD) : nullptr;
      parallel_rows(rows, kPieceRows, width * std::int64_t{5 * sizeof(T)}, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          const T *dy = dy_rows + t * width, *x = x_rows + t * width;
          T* dx = dx_rows + t * width;
          const Acc rstd = rstds[t];
          const Acc dot = sum_lanes<Acc>(width, [=](auto at) { return at.load(dy) * at.load(w) * at.load(x); });
          // dx = rstd * (w dy - x * rstd^2 * mean(w dy x)).
          const Acc pull = rstd * rstd * dot / static_cast<Acc>(width);
          const T* residual = residual_rows ? residual_rows + t * width : nullptr;
          const auto gradient = [=](auto at) { return rstd * (at.load(dy) * at.load(w) - at.load(x) * pull); };
          if (residual)
            for_lanes<Acc>(0, width, [=](auto at) { at.put(dx, at.load(residual) + gradient(at)); });
          else
            for_lanes<Acc>(0, width, [=](auto at) { at.put(dx, gradient(at)); });
        }
      });
    });
  });
}

void CpuBackend::rms_norm_backward_weight(Tensor dw_D, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                                          Stream& stream) {
  const auto [rows, width] = norm_shape("rms_norm_backward_weight", x_TD, dy_TD, rstd_T);
  require(dw_D.numel() == width && dw_D.dtype() == accumulation_dtype(x_TD.dtype()), "rms_norm_backward_weight",
          "a gradient of the rows' width and accumulation type", dw_D, x_TD);
  cpu::dispatch_floating(x_TD.dtype(), "rms_norm_backward_weight", [&, rows = rows, width = width](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const T *dy = data<T>(dy_TD), *x = data<T>(x_TD);
      const Acc* rstd = data<Acc>(rstd_T);
      cpu::add_column_sums(data<Acc>(dw_D), rows, width, [=](std::int64_t r, std::int64_t c) {
        return load(dy[r * width + c]) * (load(x[r * width + c]) * rstd[r]);
      });
    });
  });
}

}  // namespace athanor
