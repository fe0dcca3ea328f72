#include "src/backend/cuda/packed_rows_kernels.cuh"

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/e4m3_value.cuh"

namespace athanor::cuda {
namespace {

/// fp8_tiles, which is the host's.
__device__ inline std::int64_t tiles_of_row(std::int64_t width) { return (width + kFp8Tile - 1) / kFp8Tile; }

constexpr std::int64_t kPiece = 16;  ///< bytes a thread moves

__device__ inline float scale_of(unsigned exponent) { return __uint_as_float(exponent << 23); }

/// Piece i % pieces of packed row i / pieces: 16 elements, or the exponents of 16 tiles.
struct PackRows {
  std::uint8_t* out;
  const std::uint8_t* values;
  const float* scales;
  std::int64_t rows, width, pieces;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t row = i / pieces, at = i % pieces * kPiece;
    std::uint8_t* to = out + i * kPiece;
    if (at < width) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(values + row * width + at);
      return;
    }
    for (std::int64_t j = 0; j < kPiece; ++j) {
      const std::int64_t tile = at - width + j;
      to[j] = tile < tiles_of_row(width)
                  ? static_cast<std::uint8_t>(__float_as_uint(scales[tile * rows + row]) >> 23 & 0xffU)
                  : std::uint8_t{0};
    }
  }
};

/// The same piece of a packed row to the row of an expert.
struct PermuteRows {
  std::uint8_t* values;
  float* scales;
  const std::uint8_t* packed;
  const std::int32_t* pair_of;
  std::int64_t top_k, rows, width, pieces;
  IdCheck check;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t row = i / pieces, at = i % pieces * kPiece, pair = pair_of[row];
    if (!check.contains(pair)) {
      if (at == 0) check.tell(pair, row);
      return;
    }
    const std::uint8_t* from = packed + pair / top_k * pieces * kPiece + at;
    if (at < width) {
      *reinterpret_cast<uint4*>(values + row * width + at) = *reinterpret_cast<const uint4*>(from);
      return;
    }
    for (std::int64_t j = 0; j < kPiece && at - width + j < tiles_of_row(width); ++j)
      scales[(at - width + j) * rows + row] = scale_of(from[j]);
  }
};

/// A team for every pair.
template <class T>
__global__ void unpermute_fp8_backward_kernel(std::uint8_t* values, float* scales, float* dweights,
                                              const std::uint8_t* packed, Rows<const T> x, const std::int32_t* row_of,
                                              const float* weights, std::int64_t pairs, std::int64_t top_k,
                                              std::int64_t rows, std::int64_t packed_bytes, IdCheck check) {
  constexpr int kCount = kPack<T>, kWords = kCount / 4;
  const std::int64_t pair = team_row();
  if (pair >= pairs) return;
  const std::int64_t row = row_of[pair], width = x.width;
  if (!check.contains(row) && threadIdx.x == 0) check.tell(row, pair);
  if (row < 0 || row >= check.limit) {
    if (threadIdx.x == 0) dweights[pair] = 0.0F;
    return;
  }
  const std::uint8_t *from = packed + pair / top_k * packed_bytes, *exponents = from + width;
  float dot = 0.0F, of_x[kCount], dy[4];
  for (std::int64_t p = threadIdx.x; p < width / kCount; p += blockDim.x) {
    const float scale = scale_of(exponents[p * kCount / kFp8Tile]);
    x.row(row).load(p, of_x);
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const unsigned word = *reinterpret_cast<const unsigned*>(from + p * kCount + 4 * w);
      *reinterpret_cast<unsigned*>(values + row * width + p * kCount + 4 * w) = word;
      decode_four(dy, word, scale);
#pragma unroll
      for (int e = 0; e < 4; ++e) dot += dy[e] * of_x[4 * w + e];
    }
  }
  for (std::int64_t tile = threadIdx.x; tile < tiles_of_row(width); tile += blockDim.x)
    scales[tile * rows + row] = scale_of(exponents[tile]) * weights[pair];
  dot = team_sum(dot);
  if (threadIdx.x == 0) dweights[pair] = dot;
}

}  // namespace

cudaError_t launch_pack_fp8_rows(std::uint8_t* out, const std::uint8_t* values, const float* scales, std::int64_t rows,
                                 std::int64_t width, cudaStream_t stream) {
  const std::int64_t pieces = fp8_row_bytes(width) / kPiece;
  return for_each(PackRows{out, values, scales, rows, width, pieces}, rows * pieces, stream);
}

cudaError_t launch_permute_fp8_rows(std::uint8_t* values, float* scales, const std::uint8_t* packed,
                                    const std::int32_t* pair_of, std::int64_t top_k, std::int64_t rows,
                                    std::int64_t width, const IdCheck& check, cudaStream_t stream) {
  const std::int64_t pieces = fp8_row_bytes(width) / kPiece;
  return for_each(PermuteRows{values, scales, packed, pair_of, top_k, rows, width, pieces, check}, rows * pieces,
                  stream);
}

cudaError_t launch_unpermute_fp8_rows_backward(std::uint8_t* values, float* scales, float* dweights,
                                               const std::uint8_t* packed, const void* x, DType dtype,
                                               const std::int32_t* row_of, const float* weights, const Unpermuted& u,
                                               const IdCheck& check, cudaStream_t stream) {
  const std::int64_t pairs = u.tokens * u.top_k;
  if (pairs == 0) return cudaSuccess;
  const auto run = [&](auto type) {
    using T = decltype(type);
    return launch(unpermute_fp8_backward_kernel<T>, team_shape(pairs, u.width / kPack<T>), stream, values, scales,
                  dweights, packed, rows_at(static_cast<const T*>(x), u.width), row_of, weights, pairs, u.top_k, u.rows,
                  fp8_row_bytes(u.width), check);
  };
  return dtype == DType::bf16 ? run(Bf16{}) : run(float{});
}

}  // namespace athanor::cuda
