#include "src/backend/cuda/per_head_gemm.hpp"

#include <string>
#include <string_view>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/grouped_gemm_kernels.cuh"
#include "src/backend/cuda/operands.hpp"

namespace athanor::cuda {

void per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                   std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream) {
  constexpr std::string_view kOp = "per_head_gemm";
  const std::int64_t rows = x.shape().flat_rows(), columns = w.shape().back();
  const std::int64_t in = transpose == Transpose::no ? columns : count;
  const std::int64_t out = transpose == Transpose::no ? count : columns;
  require(first >= 0 && count >= 0 && first + count <= stride && w.shape().flat_rows() == num_heads * stride, kOp,
          "a weight of H*stride rows with the slice inside", w, x);
  require(x.shape().back() == num_heads * in, kOp, "an input of " + std::to_string(num_heads * in) + " columns", x, w);
  require(y.shape().flat_rows() == rows && y.shape().back() == num_heads * out, kOp,
          "an output of " + std::to_string(num_heads * out) + " columns", y, x);
  require(x.dtype() == w.dtype() && y.dtype() == x.dtype() && is_floating(x.dtype()), kOp,
          "operands of one type f32, bf16 or f64", x, w);
  CudaStream& s = stream_for(kOp, stream, {&y, &x, &w});
  GroupedProduct p;
  p.a = x.unsafe_data();
  p.b = w.unsafe_data() + static_cast<std::size_t>(first * columns) * size_bytes(w.dtype());
  p.c = y.unsafe_data();
  p.b_by_depth = transpose == Transpose::yes;
  p.num_groups = static_cast<int>(num_heads);
  p.rows = static_cast<int>(rows);
  p.columns = static_cast<int>(out);
  p.depth = static_cast<int>(in);
  p.a_stride = x.shape().back();
  p.b_stride = columns;
  p.c_stride = y.shape().back();
  p.a_of_group = in;
  p.b_of_group = stride * columns;
  p.c_of_group = out;
  p.whole_vectors = whole_vectors({&x, &w}, {in, columns});
  const DeviceGuard guard(s.device());
  check(launch_grouped_product(p, x.dtype(), y.dtype(), processors_of(s.device()), s.handle()), kOp);
}

}  // namespace athanor::cuda
