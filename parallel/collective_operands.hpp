// What collectives ask of their tensors, in one text for every way they travel.
#pragma once

#include <cstdint>
#include <span>

#include "src/backend/tensor.hpp"

namespace athanor {

/// Elements of one row: of all dimensions but the first.
std::int64_t row_elements(const Tensor& tensor);

/// One type, in = ranks * out elements. @throws Error.
void require_reduce_scatter(const Tensor& out, const Tensor& in, int ranks);
/// One type, out = ranks * in elements. @throws Error.
void require_all_gather(const Tensor& out, const Tensor& in, int ranks);
/// A count for each of `ranks` ranks, one type, rows of one length, room for all rows, and as many from `rank` as to
/// it. @throws Error.
void require_all_to_all_v(const Tensor& out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                          std::span<const std::int64_t> send_rows, int rank, int ranks);

}  // namespace athanor
