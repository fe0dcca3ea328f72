#include "src/backend/cuda/per_head_gemm.hpp"

#include "src/backend/cuda/grouped_product.hpp"
#include "src/backend/cuda/operands.hpp"

namespace athanor::cuda {

void per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                   std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream) {
  constexpr const char* kOp = "per_head_gemm";
  const std::int64_t rows = x.shape().flat_rows(), columns = w.shape().back();
  const auto [in, out] = per_head_product(kOp, y, x, w, num_heads, stride, first, count, transpose);
  require_floating(kOp, x);
  require_countable(kOp, {y, x, w});
  const Call call(kOp, stream, {y, x, w});
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
  run_grouped_product(p, x.dtype(), y.dtype(), call);
}

}  // namespace athanor::cuda
