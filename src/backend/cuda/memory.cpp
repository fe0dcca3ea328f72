#include "src/backend/cuda/memory.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/backend/cuda/memory_kernels.cuh"
#include "src/base/error.hpp"

namespace athanor::cuda {
namespace {

CudaStream& stream_of(const Tensor& tensor, Stream& stream, const char* op) {
  auto& cuda_stream = static_cast<CudaStream&>(stream);
  if (tensor.device() != Device{Device::Kind::cuda, cuda_stream.device()})
    throw Error(std::string(op) + ": wanted a tensor on cuda:" + std::to_string(cuda_stream.device()) + ", found " +
                tensor.to_string());
  return cuda_stream;
}

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

}  // namespace

void upload(Tensor dst, std::span<const std::byte> host, Stream& stream) {
  CudaStream& s = stream_of(dst, stream, "upload");
  if (host.size() != dst.bytes())
    throw Error("upload: " + std::to_string(host.size()) + " bytes into " + dst.to_string());
  const DeviceGuard guard(s.device());
  for (std::size_t done = 0; done < host.size();) {
    const std::size_t bytes = std::min(PinnedStaging::kBufferBytes, host.size() - done);
    const PinnedStaging::Buffer buffer = s.staging().next();
    std::memcpy(buffer.data, host.data() + done, bytes);
    check(cudaMemcpyAsync(dst.unsafe_data() + done, buffer.data, bytes, cudaMemcpyHostToDevice, s.handle()), "upload");
    s.record(buffer.use);
    done += bytes;
  }
}

void download(std::span<std::byte> host, const Tensor& src, Stream& stream) {
  CudaStream& s = stream_of(src, stream, "download");
  if (host.size() != src.bytes())
    throw Error("download: " + src.to_string() + " into " + std::to_string(host.size()) + " bytes");
  const DeviceGuard guard(s.device());
  for (std::size_t done = 0; done < host.size();) {
    const std::size_t bytes = std::min(PinnedStaging::kBufferBytes, host.size() - done);
    const PinnedStaging::Buffer buffer = s.staging().next();
    check(cudaMemcpyAsync(buffer.data, src.unsafe_data() + done, bytes, cudaMemcpyDeviceToHost, s.handle()),
          "download");
    s.enqueue_host([to = host.data() + done, from = buffer.data, bytes] { std::memcpy(to, from, bytes); });
    s.record(buffer.use);
    done += bytes;
  }
}

void copy(Tensor dst, const Tensor& src, Stream& stream) {
  CudaStream& s = stream_of(dst, stream, "copy");
  stream_of(src, stream, "copy");
  if (dst.numel() != src.numel()) throw Error("copy: " + src.to_string() + " into " + dst.to_string());
  const DeviceGuard guard(s.device());
  if (dst.dtype() == src.dtype()) {
    check(cudaMemcpyAsync(dst.unsafe_data(), src.unsafe_data(), src.bytes(), cudaMemcpyDeviceToDevice, s.handle()),
          "copy");
    return;
  }
  if (!is_floating(dst.dtype()) || !is_floating(src.dtype()))
    throw Error("copy: no conversion from " + src.to_string() + " to " + dst.to_string());
  check(launch_convert(dst.unsafe_data(), dst.dtype(), src.unsafe_data(), src.dtype(), src.numel(), s.handle()),
        "copy with conversion");
}

void fill(Tensor dst, double value, Stream& stream) {
  CudaStream& s = stream_of(dst, stream, "fill");
  const DeviceGuard guard(s.device());
  check(launch_fill(dst.unsafe_data(), element_bits(value, dst.dtype()), size_bytes(dst.dtype()), dst.numel(),
                    s.handle()),
        "fill");
}

}  // namespace athanor::cuda
