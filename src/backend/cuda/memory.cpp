// Moving elements: uploads and downloads through page-locked memory, conversion, fills, rows by index, columns.
#include <algorithm>
#include <bit>
#include <cstring>

#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/memory_kernels.cuh"
#include "src/backend/cuda/stable_sort.cuh"

namespace athanor::cuda {
namespace {

/// The bits of `value` as an element of `dtype`.
std::uint64_t element_bits(double value, DType dtype) {
  switch (dtype) {
    case DType::f64:
      return std::bit_cast<std::uint64_t>(value);
    case DType::f32:
      return std::bit_cast<std::uint32_t>(static_cast<float>(value));
    case DType::bf16:
      return bf16(static_cast<float>(value)).bits;
    case DType::i64:
      return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
    case DType::i32:
      return static_cast<std::uint32_t>(static_cast<std::int32_t>(value));
    case DType::u8:
      return static_cast<std::uint8_t>(value);
  }
  return 0;
}

std::int64_t row_bytes(const Tensor& tensor) {
  return tensor.shape().back() * static_cast<std::int64_t>(size_bytes(tensor.dtype()));
}

/// Shapes of table_ND, rows_RD and ids_R, checked. @returns R.
std::int64_t row_table(const char* op, const Tensor& table_ND, const Tensor& rows_RD, const Tensor& ids_R) {
  require(ids_R.dtype() == DType::i32, op, "i32 ids", ids_R);
  require(rows_RD.shape().back() == table_ND.shape().back(), op, "rows of one width", table_ND, rows_RD);
  require(rows_RD.shape().flat_rows() == ids_R.numel(), op, "one id a row", rows_RD, ids_R);
  return ids_R.numel();
}

void columns(const char* op, const Tensor& whole, const Tensor& a, const Tensor& b, bool split, Stream& stream) {
  require(a.dtype() == whole.dtype() && b.dtype() == whole.dtype(), op, "operands of one type", a, b);
  require(
      a.shape().back() + b.shape().back() == whole.shape().back(), op,
      [&] { return "widths that add up to " + std::to_string(whole.shape().back()); }, a, b);
  const std::int64_t rows = whole.shape().flat_rows();
  require(
      a.shape().flat_rows() == rows && b.shape().flat_rows() == rows, op,
      [&] { return std::to_string(rows) + " rows everywhere"; }, a, b);
  const Call call(op, stream, {whole, a, b});
  call.check(launch_columns(raw(whole), raw(a), raw(b), rows, row_bytes(a), row_bytes(b), split, call.stream()));
}

}  // namespace

void CudaBackend::upload(Tensor dst, std::span<const std::byte> host, Stream& stream) {
  require(
      host.size() == dst.bytes(), "upload", [&] { return std::to_string(host.size()) + " host bytes to fit"; }, dst);
  const Call call("upload", stream, {dst});
  auto& staging = static_cast<CudaStream&>(stream).staging();
  for (std::size_t done = 0; done < host.size();) {
    const std::size_t bytes = std::min(PinnedStaging::kBufferBytes, host.size() - done);
    const PinnedStaging::Buffer buffer = staging.next();
    std::memcpy(buffer.data, host.data() + done, bytes);
    call.check(cudaMemcpyAsync(dst.unsafe_data() + done, buffer.data, bytes, cudaMemcpyHostToDevice, call.stream()));
    stream.record(buffer.use);
    done += bytes;
  }
}

void CudaBackend::download(std::span<std::byte> host, const Tensor& src, Stream& stream) {
  require(
      host.size() == src.bytes(), "download", [&] { return std::to_string(host.size()) + " host bytes to fit"; }, src);
  const Call call("download", stream, {src});
  auto& staging = static_cast<CudaStream&>(stream).staging();
  for (std::size_t done = 0; done < host.size();) {
    const std::size_t bytes = std::min(PinnedStaging::kBufferBytes, host.size() - done);
    const PinnedStaging::Buffer buffer = staging.next();
    call.check(cudaMemcpyAsync(buffer.data, src.unsafe_data() + done, bytes, cudaMemcpyDeviceToHost, call.stream()));
    stream.enqueue_host([to = host.data() + done, from = buffer.data, bytes] { std::memcpy(to, from, bytes); });
    stream.record(buffer.use);
    done += bytes;
  }
}

void CudaBackend::copy(Tensor dst, const Tensor& src, Stream& stream) {
  require(dst.numel() == src.numel(), "copy", "as many elements on both sides", dst, src);
  const bool converts = dst.dtype() != src.dtype();
  if (converts) {
    require_floating("copy", dst);
    require_floating("copy", src);
  }
  const Call call("copy", stream, {dst, src});
  if (converts)
    call.check(launch_convert(raw(dst), dst.dtype(), raw(src), src.dtype(), src.numel(), call.stream()));
  else
    call.check(cudaMemcpyAsync(raw(dst), raw(src), src.bytes(), cudaMemcpyDeviceToDevice, call.stream()));
}

void CudaBackend::fill(Tensor dst, double value, Stream& stream) {
  const Call call("fill", stream, {dst});
  call.check(
      launch_fill(raw(dst), element_bits(value, dst.dtype()), size_bytes(dst.dtype()), dst.numel(), call.stream()));
}

void CudaBackend::fill_normal(Tensor dst, double std, std::uint64_t seed, const ShardSpec& spec, Stream& stream) {
  require(
      dst.shape() == spec.extent, "fill_normal",
      [&] { return "the extent of " + spec.name + ", " + spec.extent.to_string(); }, dst);
  require(
      spec.global.ndim() == spec.extent.ndim() && spec.offset.ndim() == spec.extent.ndim(), "fill_normal",
      [&] { return "offset and extent within " + spec.name + " " + spec.global.to_string(); }, dst);
  require_floating("fill_normal", dst);
  NormalBox box{.ndim = spec.extent.ndim(), .global = {}, .offset = {}, .extent = {}};
  for (int d = 0; d < box.ndim; ++d) {
    box.global[d] = spec.global[d];
    box.offset[d] = spec.offset[d];
    box.extent[d] = spec.extent[d];
  }
  const Call call("fill_normal", stream, {dst});
  call.check(launch_fill_normal(raw(dst), dst.dtype(), std, seed,
                                static_cast<std::uint32_t>(RandomPurpose::weight_init), stable_hash(spec.name), box,
                                call.stream()));
}

void CudaBackend::gather_rows(Tensor dst_RD, const Tensor& src_ND, const Tensor& ids_R, Stream& stream) {
  const std::int64_t rows = row_table("gather_rows", src_ND, dst_RD, ids_R);
  require(dst_RD.dtype() == src_ND.dtype(), "gather_rows", "operands of one type", dst_RD, src_ND);
  const Call call("gather_rows", stream, {dst_RD, src_ND, ids_R});
  call.check(launch_gather_rows(raw(dst_RD), raw(src_ND), data<std::int32_t>(ids_R), 1, rows, row_bytes(src_ND),
                                call.ids(src_ND.shape().flat_rows(), -1), call.stream()));
}

void CudaBackend::scatter_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) {
  const std::int64_t rows = row_table("scatter_rows", dst_ND, src_RD, ids_R);
  require(dst_ND.dtype() == src_RD.dtype(), "scatter_rows", "operands of one type", dst_ND, src_RD);
  const Call call("scatter_rows", stream, {dst_ND, src_RD, ids_R});
  call.check(launch_scatter_rows(raw(dst_ND), raw(src_RD), data<std::int32_t>(ids_R), rows, row_bytes(src_RD),
                                 call.ids(dst_ND.shape().flat_rows(), -1), call.stream()));
}

void CudaBackend::scatter_add_rows(Tensor dst_ND, const Tensor& src_RD, const Tensor& ids_R, Stream& stream) {
  const std::int64_t rows = row_table("scatter_add_rows", dst_ND, src_RD, ids_R);
  require_floating("scatter_add_rows", src_RD);
  require(dst_ND.dtype() == accumulation_dtype(src_RD.dtype()), "scatter_add_rows",
          "a destination of the accumulation type", dst_ND, src_RD);
  const Call call("scatter_add_rows", stream, {dst_ND, src_RD, ids_R});
  if (rows == 0) return;
  const std::int64_t table_rows = dst_ND.shape().flat_rows();
  // Sorted by id, eight bits a pass, rows of one id in their order. Bad ids have all bits set, so no id may.
  constexpr std::int32_t kBuckets = 256;
  auto* order = call.scratch<std::int32_t>(arena(), 2 * rows + sort_workspace(rows, kBuckets));
  std::int32_t *other = order + rows, *workspace = other + rows;
  const std::int32_t* from = nullptr;
  for (int shift = 0; shift == 0 || table_rows >= std::int64_t{1} << shift; shift += 8) {
    const SortPass pass{data<std::int32_t>(ids_R), from, rows, table_rows, shift, kBuckets - 1, kBuckets};
    call.check(launch_sort_pass(order, nullptr, nullptr, workspace, pass, call.stream()));
    from = order;
    std::swap(order, other);
  }
  call.check(launch_add_sorted_rows(raw(dst_ND), raw(src_RD), src_RD.dtype(), data<std::int32_t>(ids_R), from, rows,
                                    src_RD.shape().back(), call.ids(table_rows, -1), call.stream()));
}

void CudaBackend::local_ids(Tensor out_R, const Tensor& ids_R, std::int64_t begin, std::int64_t count, Stream& stream) {
  require(is_ids(out_R, ids_R.numel()) && is_ids(ids_R, ids_R.numel()), "local_ids", "i32 ids, as many out as in",
          out_R, ids_R);
  const Call call("local_ids", stream, {out_R, ids_R});
  call.check(launch_local_ids(data<std::int32_t>(out_R), data<std::int32_t>(ids_R), begin, count, ids_R.numel(),
                              call.stream()));
}

void CudaBackend::concat_columns(Tensor out, const Tensor& a, const Tensor& b, Stream& stream) {
  columns("concat_columns", out, a, b, false, stream);
}

void CudaBackend::split_columns(Tensor a, Tensor b, const Tensor& in, Stream& stream) {
  columns("split_columns", in, a, b, true, stream);
}

}  // namespace athanor::cuda
