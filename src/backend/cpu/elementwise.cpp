// One element at a time: sums, scaling, biases, SwiGLU. Outputs may be the tensors of inputs: an element is read before
// it is written.
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

constexpr std::int64_t kPieceElements = 8192;

void require_alike(std::string_view op, const Tensor& a, const Tensor& b) {
  require(a.numel() == b.numel() && a.dtype() == b.dtype(), op, "operands of one size and type", a, b);
}

}  // namespace

void CpuBackend::add(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) {
  require_alike("add", out, a);
  require_alike("add", out, b);
  cpu::dispatch_floating(out.dtype(), "add", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      T* to = data<T>(out);
      const T *left = data<T>(a), *right = data<T>(b);
      parallel_rows(out.numel(), kPieceElements, 3 * sizeof(T), [&](std::int64_t begin, std::int64_t end) {
        for_lanes<Acc>(begin, end, [=](auto at) { at.put(to, at.load(left) + at.load(right)); });
      });
    });
  });
}

void CpuBackend::scale(Tensor x, double factor, Stream& stream) {
  cpu::dispatch_floating(x.dtype(), "scale", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      T* values = data<T>(x);
      const auto by = static_cast<Acc>(factor);
      parallel_rows(x.numel(), kPieceElements, 2 * sizeof(T), [&](std::int64_t begin, std::int64_t end) {
        for_lanes<Acc>(begin, end, [=](auto at) { at.put(values, at.load(values) * by); });
      });
    });
  });
}

void CpuBackend::add_bias(Tensor x_TO, const Tensor& b_O, Stream& stream) {
  const std::int64_t rows = x_TO.shape().flat_rows(), columns = x_TO.shape().back();
  require(b_O.numel() == columns && b_O.dtype() == x_TO.dtype(), "add_bias", "a bias of the rows' width and type", x_TO,
          b_O);
  cpu::dispatch_floating(x_TO.dtype(), "add_bias", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      T* x = data<T>(x_TO);
      const T* bias = data<T>(b_O);
      parallel_rows(rows, 16, columns * std::int64_t{sizeof(T)} * 2, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          T* row = x + r * columns;
          for_lanes<Acc>(0, columns, [=](auto at) { at.put(row, at.load(row) + at.load(bias)); });
        }
      });
    });
  });
}

void CpuBackend::gemm_bias(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, const Tensor& b_O, Stream& stream) {
  gemm(y_TO, x_TI, Transpose::no, w_OI, Transpose::yes, false, stream);
  add_bias(y_TO, b_O, stream);
}

void CpuBackend::bias_backward(Tensor db_O, const Tensor& dy_TO, Stream& stream) {
  const std::int64_t rows = dy_TO.shape().flat_rows(), columns = dy_TO.shape().back();
  require(db_O.numel() == columns && db_O.dtype() == accumulation_dtype(dy_TO.dtype()), "bias_backward",
          "a gradient of the rows' width and accumulation type", db_O, dy_TO);
  cpu::dispatch_floating(dy_TO.dtype(), "bias_backward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const T* dy = data<T>(dy_TO);
      cpu::add_column_sums(data<Acc>(db_O), rows, columns,
                           [=](std::int64_t r, std::int64_t c) { return load(dy[r * columns + c]); });
    });
  });
}

void CpuBackend::swiglu_forward(Tensor y_TF, const Tensor& gate_TF, const Tensor& up_TF, Stream& stream) {
  require_alike("swiglu_forward", y_TF, gate_TF);
  require_alike("swiglu_forward", y_TF, up_TF);
  cpu::dispatch_floating(y_TF.dtype(), "swiglu_forward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      T* y = data<T>(y_TF);
      const T *gate = data<T>(gate_TF), *up = data<T>(up_TF);
      parallel_rows(y_TF.numel(), kPieceElements, 8 * sizeof(T), [&](std::int64_t begin, std::int64_t end) {
        for_lanes<Acc>(begin, end, [=](auto at) {
          const auto g = at.load(gate);
          at.put(y, g * cpu::sigmoid_lanes(g) * at.load(up));
        });
      });
    });
  });
}

void CpuBackend::swiglu_backward(Tensor dgate_TF, Tensor dup_TF, const Tensor& dy_TF, const Tensor& gate_TF,
                                 const Tensor& up_TF, Stream& stream) {
  for (const Tensor& other : {dgate_TF, dup_TF, gate_TF, up_TF}) require_alike("swiglu_backward", dy_TF, other);
  cpu::dispatch_floating(dy_TF.dtype(), "swiglu_backward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      T *dgate = data<T>(dgate_TF), *dup = data<T>(dup_TF);
      const T *dy = data<T>(dy_TF), *gate = data<T>(gate_TF), *up = data<T>(up_TF);
      parallel_rows(dy_TF.numel(), kPieceElements, 10 * sizeof(T), [&](std::int64_t begin, std::int64_t end) {
        for_lanes<Acc>(begin, end, [=](auto at) {
          // silu(g) = g s; silu'(g) = s (1 + g (1 - s)).
          const auto d = at.load(dy), g = at.load(gate), u = at.load(up), s = cpu::sigmoid_lanes(g);
          at.put(dgate, d * u * s * (1 + g * (1 - s)));
          at.put(dup, d * g * s);
        });
      });
    });
  });
}

}  // namespace athanor
