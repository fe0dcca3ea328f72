#include "src/backend/cuda/grouped_product.hpp"

#include <algorithm>

#include "src/backend/cuda/operands.hpp"
#include "src/backend/cuda/tensor_map.hpp"

namespace athanor::cuda {
namespace {

bool whole(std::int64_t elements, std::size_t element_bytes) {
  return elements * static_cast<std::int64_t>(element_bytes) % 16 == 0;
}

/// The copy engine moves whole vectors.
bool can_be_tiled(const GroupedProduct& p, int device) {
  const auto in_place = [](const void* at) { return reinterpret_cast<std::uintptr_t>(at) % 16 == 0; };
  return has_hopper_kernels(device) && p.whole_vectors && whole(p.a_of_group, 2) && whole(p.b_of_group, 2) &&
         in_place(p.a) && in_place(p.b) && p.depth > 0;
}

}  // namespace

TiledProduct tiled_product(const GroupedProduct& p, int element_bytes, int columns) {
  const int side = 128 / element_bytes;
  const std::int64_t groups = p.num_groups;
  // Groups lie among the rows of a when these are cut, along the depth of both when that is, else side by side.
  const bool a_in_groups = p.by == GroupBy::whole, b_in_groups = p.by == GroupBy::whole || p.by == GroupBy::rows;
  const auto described = [&](const void* data, bool by_depth, std::int64_t edge, std::int64_t edge_box,
                             std::int64_t stride, std::int64_t of_group, bool in_groups) {
    const std::int64_t rows = by_depth ? p.depth : edge, width = by_depth ? edge : p.depth;
    return TiledTensor{data,
                       element_bytes,
                       {width, rows, in_groups ? groups : 1},
                       {stride, in_groups && of_group > 0 ? of_group : stride * rows},
                       {side, static_cast<int>(by_depth ? side : edge_box), 1}};
  };
  return {p, tensor_map(described(p.a, p.a_by_depth, p.rows, kTiledRows, p.a_stride, p.a_of_group, a_in_groups)),
          tensor_map(described(p.b, p.b_by_depth, p.columns, columns, p.b_stride, p.b_of_group, b_in_groups))};
}

bool has_whole_c(const GroupedProduct& p, DType out) {
  const std::size_t bytes = size_bytes(out);
  return reinterpret_cast<std::uintptr_t>(p.c) % 16 == 0 && whole(p.c_stride, bytes) && whole(p.c_of_group, bytes) &&
         whole(p.columns, bytes);
}

void run_grouped_product(GroupedProduct p, DType in, DType out, const Call& call) {
  p.whole_c = has_whole_c(p, out);
  if (p.num_groups == 0 || p.rows == 0 || p.columns == 0) return;
  const int processors = processors_of(call.device());
  if (in == DType::bf16 && can_be_tiled(p, call.device()))
    call.check(launch_tiled_product(tiled_product(p, 2, tiled_columns(p.columns)), out, processors, call.stream()));
  else
    call.check(launch_grouped_product(p, in, out, processors, call.stream()));
}

}  // namespace athanor::cuda
