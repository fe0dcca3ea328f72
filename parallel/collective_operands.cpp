#include "parallel/collective_operands.hpp"

#include <fmt/format.h>

#include <numeric>

#include "src/base/error.hpp"

namespace athanor {
namespace {

void require(bool ok, const char* operation, const Tensor& out, const Tensor& in, const char* wanted) {
  if (!ok) throw Error(fmt::format("{}: wanted {}; got {} and {}", operation, wanted, out.to_string(), in.to_string()));
}

}  // namespace

std::int64_t row_elements(const Tensor& tensor) {
  std::int64_t count = 1;
  for (int d = 1; d < tensor.shape().ndim(); ++d) count *= tensor.dim(d);
  return count;
}

void require_reduce_scatter(const Tensor& out, const Tensor& in, int ranks) {
  require(in.dtype() == out.dtype() && in.numel() == ranks * out.numel(), "reduce_scatter", out, in,
          "one type and in = ranks * out elements");
}

void require_all_gather(const Tensor& out, const Tensor& in, int ranks) {
  require(in.dtype() == out.dtype() && out.numel() == ranks * in.numel(), "all_gather", out, in,
          "one type and out = ranks * in elements");
}

void require_all_to_all_v(const Tensor& out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                          std::span<const std::int64_t> send_rows, int rank, int ranks) {
  if (std::ssize(recv_rows) != ranks || std::ssize(send_rows) != ranks)
    throw Error(fmt::format("all_to_all_v: wanted a row count for each of {} ranks, got {} to send and {} to receive",
                            ranks, send_rows.size(), recv_rows.size()));
  const auto total = [](std::span<const std::int64_t> rows) {
    return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  };
  const bool fits = in.dtype() == out.dtype() && row_elements(in) == row_elements(out) && in.shape().ndim() > 0 &&
                    out.shape().ndim() > 0 && total(recv_rows) <= out.dim(0) && total(send_rows) <= in.dim(0);
  const auto own = static_cast<std::size_t>(rank);
  require(fits && send_rows[own] == recv_rows[own], "all_to_all_v", out, in,
          "one type, rows of one length, room for all rows, and as many rows from this rank as to it");
}

}  // namespace athanor
