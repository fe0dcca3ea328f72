#include "src/backend/cuda/operands.hpp"

#include <algorithm>
#include <string>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/base/error.hpp"

namespace athanor::cuda {

void require(bool holds, std::string_view op, std::string_view wanted, const Tensor& a, const Tensor& b) {
  if (!holds)
    throw Error(std::string(op) + ": wanted " + std::string(wanted) + ", found " + a.to_string() + " and " +
                b.to_string());
}

CudaStream& stream_for(std::string_view op, Stream& stream, std::initializer_list<const Tensor*> operands) {
  auto& cuda_stream = static_cast<CudaStream&>(stream);
  for (const Tensor* tensor : operands) {
    if (!tensor->defined()) continue;
    if (tensor->device() != Device{Device::Kind::cuda, cuda_stream.device()})
      throw Error(std::string(op) + ": wanted tensors on cuda:" + std::to_string(cuda_stream.device()) + ", found " +
                  tensor->to_string());
    constexpr std::int64_t kMost = std::int64_t{1} << 30;
    if (std::max(tensor->shape().flat_rows(), tensor->shape().back()) >= kMost)
      throw Error(std::string(op) + ": wanted fewer than 2^30 rows and columns, found " + tensor->to_string() +
                  "; cut the batch");
  }
  return cuda_stream;
}

int processors_of(int device) {
  int count = 0;
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "how many processors the device has");
  return count;
}

bool whole_vectors(std::initializer_list<const Tensor*> tensors, std::initializer_list<std::int64_t> counts) {
  return std::all_of(
             tensors.begin(), tensors.end(),
             [](const Tensor* tensor) { return reinterpret_cast<std::uintptr_t>(tensor->unsafe_data()) % 16 == 0; }) &&
         std::all_of(counts.begin(), counts.end(), [](std::int64_t count) { return count % 8 == 0; });
}

}  // namespace athanor::cuda
