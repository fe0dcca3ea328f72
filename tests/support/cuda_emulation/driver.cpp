// The driver's functions of cuda.h, found by name as on a GPU.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>

namespace {

/// Refuses what the driver's documentation refuses.
CUresult encode(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* base, const cuuint64_t* size,
                const cuuint64_t* stride_bytes, const cuuint32_t* box, const cuuint32_t* element_stride,
                CUtensorMapInterleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  constexpr cuuint32_t kRank = 3, kLargestBox = 256;
  const std::uint32_t bytes = type == CU_TENSOR_MAP_DATA_TYPE_UINT8 ? 1 : 2;
  if (rank != kRank || swizzle != CU_TENSOR_MAP_SWIZZLE_128B || reinterpret_cast<std::uintptr_t>(base) % 16 != 0)
    return CUDA_ERROR_INVALID_VALUE;
  map->base = static_cast<std::byte*>(base);
  map->element_bytes = bytes;
  for (cuuint32_t i = 0; i < kRank; ++i) {
    if (size[i] == 0 || size[i] > std::uint64_t{1} << 32 || box[i] == 0 || box[i] > kLargestBox ||
        element_stride[i] != 1)
      return CUDA_ERROR_INVALID_VALUE;
    map->dims[i] = size[i];
    map->box[i] = box[i];
    if (i == kRank - 1) break;
    if (stride_bytes[i] % 16 != 0 || stride_bytes[i] >= std::uint64_t{1} << 40) return CUDA_ERROR_INVALID_VALUE;
    map->strides[i] = stride_bytes[i];
  }
  return box[0] * bytes > 128 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

}  // namespace

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  const bool known = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void*>(&encode) : nullptr;
  *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
