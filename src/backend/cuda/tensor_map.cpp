#include "src/backend/cuda/tensor_map.hpp"

#include <cuda_runtime_api.h>

#include <string>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/base/error.hpp"

namespace athanor::cuda {
namespace {

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/// The driver is asked for its function, so that nothing links against a library that machines without a GPU lack.
Encode find_encode() {
  constexpr unsigned kSince = 12000;
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, kSince, 0, &result),
        "the driver's description of tensors");
  if (result != cudaDriverEntryPointSuccess || found == nullptr)
    throw Error("cuda: the driver has no cuTensorMapEncodeTiled; install the driver of CUDA 12 or later");
  return reinterpret_cast<Encode>(found);
}

}  // namespace

CUtensorMap tensor_map(const TiledTensor& t) {
  static const Encode encode = find_encode();
  const auto unsigned_of = [](std::int64_t value) { return static_cast<cuuint64_t>(value); };
  const cuuint64_t size[3] = {unsigned_of(t.size[0]), unsigned_of(t.size[1]), unsigned_of(t.size[2])};
  const cuuint64_t stride_bytes[2] = {unsigned_of(t.stride[0] * t.element_bytes),
                                      unsigned_of(t.stride[1] * t.element_bytes)};
  const cuuint32_t box[3] = {static_cast<cuuint32_t>(t.box[0]), static_cast<cuuint32_t>(t.box[1]),
                             static_cast<cuuint32_t>(t.box[2])};
  const cuuint32_t element_stride[3] = {1, 1, 1};
  CUtensorMap map;
  const CUresult status =
      encode(&map, t.element_bytes == 1 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3,
             const_cast<void*>(t.data), size, stride_bytes, box, element_stride, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    const auto list = [](const auto& values) {
      std::string text;
      for (const auto value : values) text += (text.empty() ? "" : ", ") + std::to_string(value);
      return "[" + text + "]";
    };
    throw Error("cuda: cuTensorMapEncodeTiled refused (" + std::to_string(static_cast<int>(status)) +
                ") a tensor of elements of " + std::to_string(t.element_bytes) + " bytes, size " + list(t.size) +
                ", strides " + list(t.stride) + ", box " + list(t.box));
  }
  return map;
}

}  // namespace athanor::cuda
