// The part of the CUDA driver's interface that src/backend/cuda uses: descriptions of tensors for the copy engine.
// Law: names and meanings are those of NVIDIA's header; values other than those here are refused.
#pragma once

#include <cstddef>
#include <cstdint>

enum CUresult : int { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1 };
using cuuint32_t = std::uint32_t;
using cuuint64_t = std::uint64_t;

enum CUtensorMapDataType : int { CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9 };
enum CUtensorMapInterleave : int { CU_TENSOR_MAP_INTERLEAVE_NONE = 0 };
enum CUtensorMapSwizzle : int { CU_TENSOR_MAP_SWIZZLE_128B = 3 };
enum CUtensorMapL2promotion : int { CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3 };
enum CUtensorMapFloatOOBfill : int { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0 };

/// As large and as aligned as NVIDIA's.
struct alignas(64) CUtensorMap {
  std::byte* base;
  std::uint64_t dims[3], strides[2];  ///< elements; bytes
  std::uint32_t box[3], element_bytes;
};
