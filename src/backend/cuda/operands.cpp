#include "src/backend/cuda/operands.hpp"

#include <algorithm>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/operand_checks.hpp"

namespace athanor::cuda {

void require_countable(const char* op, std::initializer_list<Tensor> operands) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  for (const Tensor& tensor : operands)
    require(!tensor.defined() || std::max(tensor.shape().flat_rows(), tensor.shape().back()) < kMost, op,
            "fewer than 2^30 rows and columns (cut the batch)", tensor);
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
