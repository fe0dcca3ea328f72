// Memory operations on CUDA tensors, in the shape of Backend's (backend.hpp says what each means). `stream` must be a
// CudaStream of the tensors' device.
#pragma once

#include <cstddef>
#include <span>

#include "src/backend/stream.hpp"
#include "src/backend/tensor.hpp"

namespace athanor::cuda {

/// dst = host bytes. Returns when `host` may be reused; the copy to the device may still be on its way.
void upload(Tensor dst, std::span<const std::byte> host, Stream& stream);
/// host = src, readable after stream.synchronize().
void download(std::span<std::byte> host, const Tensor& src, Stream& stream);
/// dst = src converted between f32, bf16 and f64, or any one type copied. bf16 rounds to nearest even, as on the CPU.
void copy(Tensor dst, const Tensor& src, Stream& stream);
/// Every element = value.
void fill(Tensor dst, double value, Stream& stream);

}  // namespace athanor::cuda
