// Making FP8 operands of numbers and of other operands: a tile's largest magnitude as an integer maximum of its bits
// (NaN above all), the quotient by its scale rounded to E4M3.
#include "src/backend/cuda/fp8_kernels.cuh"

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/e4m3_value.cuh"
#include "src/backend/cuda/mma.cuh"

namespace athanor::cuda {
namespace {

constexpr int kTile = kFp8Tile, kThreads = 256, kWarps = kThreads / 32;
constexpr int kColumns = 32;  ///< of a block of columns_kernel

__device__ inline unsigned magnitude(float value) { return __float_as_uint(value) & 0x7fffffffU; }
__device__ inline unsigned larger_bits(unsigned a, unsigned b) { return a > b ? a : b; }
__device__ inline float scale_of(unsigned largest, bool power_of_two) {
  const float scale = __fdiv_rn(__uint_as_float(largest), 448.0F);
  if (scale < 0x1p-100F) return 0x1p-100F;
  const unsigned bits = __float_as_uint(scale);
  if (!power_of_two || bits >= 0x7f800000U) return scale;  // what is not finite stays so
  return __uint_as_float((bits + 0x7fffffU) & 0x7f800000U);
}
/// One warp a tile of a row: four numbers a lane.
template <class T>
__global__ void __launch_bounds__(kThreads) rows_kernel(std::uint8_t* values, float* scales, const T* x,
                                                        std::int64_t rows, std::int64_t columns, bool power_of_two) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32, tile = blockIdx.y;
  if (row >= rows) return;
  const std::int64_t column = tile * kTile + threadIdx.x % 32 * 4;
  const bool inside = column < columns;  // whole fours: a multiple of 16 columns
  const T* from = x + row * columns + column;
  float four[4] = {};
  if (inside)
    for (int i = 0; i < 4; ++i) four[i] = widen(from[i]);
  unsigned bits = 0;
  for (const float value : four) bits = larger_bits(bits, magnitude(value));
  for (int other = 16; other > 0; other /= 2) bits = larger_bits(bits, __shfl_xor_sync(~0U, bits, other));
  const float scale = scale_of(bits, power_of_two);
  if (inside) {
    const unsigned low = pack_e4m3(__fdiv_rn(four[0], scale), __fdiv_rn(four[1], scale));
    const unsigned high = pack_e4m3(__fdiv_rn(four[2], scale), __fdiv_rn(four[3], scale));
    *reinterpret_cast<unsigned*>(values + row * columns + column) = low | high << 16;
  }
  if (threadIdx.x % 32 == 0) scales[tile * rows + row] = scale;
}

/// Four numbers a thread, as rows_kernel lays them out.
template <class T>
__global__ void __launch_bounds__(kThreads)
    numbers_kernel(T* x, const std::uint8_t* values, const float* scales, std::int64_t rows, std::int64_t columns) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32, tile = blockIdx.y;
  const std::int64_t column = tile * kTile + threadIdx.x % 32 * 4;
  if (row >= rows || column >= columns) return;
  float four[4];
  decode_four(four, *reinterpret_cast<const unsigned*>(values + row * columns + column), scales[tile * rows + row]);
  T* to = x + row * columns + column;
  for (int i = 0; i < 4; ++i) to[i] = narrow<T>(four[i]);
}

/// Where columns_kernel reads: numbers, or rows of FP8. fill() is called by every thread of a block, with the numbers
/// of kTile rows and kColumns columns and zeros past the last of either.
template <class T>
struct NumberSource {
  static constexpr bool kPowerOfTwo = false;
  const T* x;
  __device__ void fill(float (&tile)[kTile][kColumns + 1], std::int64_t first, std::int64_t last, std::int64_t column,
                       std::int64_t, std::int64_t columns) const {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kColumns; i += kThreads) {
      const int r = i / kColumns, c = i % kColumns;
      tile[r][c] = first + r < last && column + c < columns ? widen(x[(first + r) * columns + column + c]) : 0.0F;
    }
  }
};
struct Fp8Source {
  static constexpr bool kPowerOfTwo = true;
  const std::uint8_t* values;
  const float* scales;
  __device__ void fill(float (&tile)[kTile][kColumns + 1], std::int64_t first, std::int64_t last, std::int64_t column,
                       std::int64_t rows, std::int64_t columns) const {
    const float* of_rows = scales + column / kTile * rows;  // kColumns of them lie in one tile
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kColumns / 4; i += kThreads) {
      const int r = i / (kColumns / 4), c = i % (kColumns / 4) * 4;  // whole fours: a multiple of 16 columns
      float four[4] = {};
      if (first + r < last && column + c < columns)
        decode_four(four, *reinterpret_cast<const unsigned*>(values + (first + r) * columns + column + c),
                    of_rows[first + r]);
      for (int j = 0; j < 4; ++j) tile[r][c + j] = four[j];
    }
  }
};

/// One block 128 places of 32 columns: eight threads a column, 16 places each.
template <class Source>
__global__ void __launch_bounds__(kThreads)
    columns_kernel(std::uint8_t* values, float* scales, Source source, const std::int32_t* offsets, std::int64_t groups,
                   std::int64_t rows, std::int64_t columns, std::int64_t places) {
  __shared__ float tile[kTile][kColumns + 1];
  const std::int64_t place = static_cast<std::int64_t>(blockIdx.x) * kTile;
  std::int64_t first = place, last = rows;  // rows of x at these places
  if (offsets) {
    std::int64_t begin = 0, e = 0;
    for (; e < groups; ++e) {
      const std::int64_t room = (offsets[e + 1] - offsets[e] + kTile - 1) / kTile * kTile;
      if (place < begin + room) break;
      begin += room;
    }
    if (e == groups) return;
    first = offsets[e] + (place - begin);
    last = offsets[e + 1];
  }
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * kColumns;
  source.fill(tile, first, last, column, rows, columns);
  __syncthreads();
  const int c = static_cast<int>(threadIdx.x) / 8, part = static_cast<int>(threadIdx.x) % 8 * 16;
  unsigned bits = 0;
  for (int i = 0; i < 16; ++i) bits = larger_bits(bits, magnitude(tile[part + i][c]));
  for (int other = 4; other > 0; other /= 2) bits = larger_bits(bits, __shfl_xor_sync(~0U, bits, other));
  const float scale = scale_of(bits, Source::kPowerOfTwo);
  if (column + c >= columns) return;
  unsigned packed[4];
  for (int i = 0; i < 4; ++i) {
    const auto at = [&](int j) { return __fdiv_rn(tile[part + 4 * i + j][c], scale); };
    const unsigned low = pack_e4m3(at(0), at(1)), high = pack_e4m3(at(2), at(3));
    packed[i] = low | high << 16;
  }
  *reinterpret_cast<uint4*>(values + (column + c) * places + place + part) =
      make_uint4(packed[0], packed[1], packed[2], packed[3]);
  if (part == 0) scales[place / kTile * columns + column + c] = scale;
}

/// One block of threads a tile of 128 x 128.
template <class T, bool kTransposed>
__global__ void __launch_bounds__(kThreads) blocks_kernel(std::uint8_t* values, float* scales, Fp8Scales where,
                                                          const T* w, std::int64_t rows, std::int64_t columns) {
  __shared__ unsigned largest[kWarps];
  __shared__ std::uint8_t turned[kTile][kTile + 4];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t plane = static_cast<std::int64_t>(blockIdx.z) * rows * columns;
  const T* from = w + plane + row * columns + column;
  const auto height = static_cast<int>(rows - row < kTile ? rows - row : kTile);
  const auto width = static_cast<int>(columns - column < kTile ? columns - column : kTile);
  const auto each = [&](auto&& f) {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile / 2; i += kThreads) {
      const int r = i / (kTile / 2), c = i % (kTile / 2) * 2;
      if (r < height && c < width) f(r, c);
    }
  };
  unsigned bits = 0;
  each([&](int r, int c) {
    const T* pair = from + r * columns + c;
    bits = larger_bits(bits, larger_bits(magnitude(widen(pair[0])), magnitude(widen(pair[1]))));
  });
  for (int other = 16; other > 0; other /= 2) bits = larger_bits(bits, __shfl_xor_sync(~0U, bits, other));
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = bits;
  __syncthreads();
  for (const unsigned of_warp : largest) bits = larger_bits(bits, of_warp);
  const float scale = scale_of(bits, false);
  each([&](int r, int c) {
    const T* pair = from + r * columns + c;
    const std::uint16_t both = pack_e4m3(__fdiv_rn(widen(pair[0]), scale), __fdiv_rn(widen(pair[1]), scale));
    if constexpr (kTransposed) {
      turned[c][r] = static_cast<std::uint8_t>(both & 0xffU);
      turned[c + 1][r] = static_cast<std::uint8_t>(both >> 8);
    } else {
      *reinterpret_cast<std::uint16_t*>(values + plane + (row + r) * columns + column + c) = both;
    }
  });
  if constexpr (kTransposed) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile / 4; i += kThreads) {
      const int c = i / (kTile / 4), r = i % (kTile / 4) * 4;  // whole fours: a multiple of 16 rows
      if (c < width && r < height)
        *reinterpret_cast<unsigned*>(values + plane + (column + c) * rows + row + r) =
            *reinterpret_cast<const unsigned*>(&turned[c][r]);
    }
  }
  if (threadIdx.x == 0)
    scales[blockIdx.z * where.by_group + (kTransposed ? blockIdx.x : blockIdx.y) * where.by_row +
           (kTransposed ? blockIdx.y : blockIdx.x)] = scale;
}

unsigned count_of(std::int64_t size, std::int64_t piece) { return static_cast<unsigned>((size + piece - 1) / piece); }

template <class T>
cudaError_t quantize_rows(std::uint8_t* values, float* scales, const void* x, std::int64_t rows, std::int64_t columns,
                          bool power_of_two, cudaStream_t stream) {
  const LaunchShape shape{dim3(count_of(rows, kWarps), count_of(columns, kTile)), dim3(kThreads)};
  return launch(rows_kernel<T>, shape, stream, values, scales, static_cast<const T*>(x), rows, columns, power_of_two);
}

template <class T>
cudaError_t dequantize_rows(void* x, const std::uint8_t* values, const float* scales, std::int64_t rows,
                            std::int64_t columns, cudaStream_t stream) {
  const LaunchShape shape{dim3(count_of(rows, kWarps), count_of(columns, kTile)), dim3(kThreads)};
  return launch(numbers_kernel<T>, shape, stream, static_cast<T*>(x), values, scales, rows, columns);
}

template <class Source>
cudaError_t write_columns(std::uint8_t* values, float* scales, const Source& source, const std::int32_t* offsets,
                          std::int64_t groups, std::int64_t rows, std::int64_t columns, std::int64_t places,
                          cudaStream_t stream) {
  const LaunchShape shape{dim3(count_of(places, kTile), count_of(columns, kColumns)), dim3(kThreads)};
  return launch(columns_kernel<Source>, shape, stream, values, scales, source, offsets, groups, rows, columns, places);
}

template <class T>
cudaError_t quantize_blocks(std::uint8_t* values, float* scales, const Fp8Scales& where, const void* w,
                            std::int64_t stack, std::int64_t rows, std::int64_t columns, bool transposed,
                            cudaStream_t stream) {
  const LaunchShape shape{dim3(count_of(columns, kTile), count_of(rows, kTile), static_cast<unsigned>(stack)),
                          dim3(kThreads)};
  return launch(transposed ? blocks_kernel<T, true> : blocks_kernel<T, false>, shape, stream, values, scales, where,
                static_cast<const T*>(w), rows, columns);
}

}  // namespace

cudaError_t launch_quantize_fp8_rows(std::uint8_t* values, float* scales, const void* x, DType dtype, std::int64_t rows,
                                     std::int64_t columns, bool power_of_two, cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  if (dtype == DType::bf16) return quantize_rows<Bf16>(values, scales, x, rows, columns, power_of_two, stream);
  return quantize_rows<float>(values, scales, x, rows, columns, power_of_two, stream);
}

cudaError_t launch_dequantize_fp8_rows(void* x, DType dtype, const std::uint8_t* values, const float* scales,
                                       std::int64_t rows, std::int64_t columns, cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  if (dtype == DType::bf16) return dequantize_rows<Bf16>(x, values, scales, rows, columns, stream);
  return dequantize_rows<float>(x, values, scales, rows, columns, stream);
}

cudaError_t launch_quantize_fp8_columns(std::uint8_t* values, float* scales, const void* x, DType dtype,
                                        const std::int32_t* offsets, std::int64_t groups, std::int64_t rows,
                                        std::int64_t columns, std::int64_t places, cudaStream_t stream) {
  if (places == 0) return cudaSuccess;
  if (dtype == DType::bf16)
    return write_columns(values, scales, NumberSource<Bf16>{static_cast<const Bf16*>(x)}, offsets, groups, rows,
                         columns, places, stream);
  return write_columns(values, scales, NumberSource<float>{static_cast<const float*>(x)}, offsets, groups, rows,
                       columns, places, stream);
}

cudaError_t launch_retile_fp8_columns(std::uint8_t* values, float* scales, const std::uint8_t* from,
                                      const float* from_scales, const std::int32_t* offsets, std::int64_t groups,
                                      std::int64_t rows, std::int64_t columns, std::int64_t places,
                                      cudaStream_t stream) {
  if (places == 0) return cudaSuccess;
  return write_columns(values, scales, Fp8Source{from, from_scales}, offsets, groups, rows, columns, places, stream);
}

cudaError_t launch_quantize_fp8_blocks(std::uint8_t* values, float* scales, const Fp8Scales& where, const void* w,
                                       DType dtype, std::int64_t stack, std::int64_t rows, std::int64_t columns,
                                       bool transposed, cudaStream_t stream) {
  if (stack * rows * columns == 0) return cudaSuccess;
  if (dtype == DType::bf16)
    return quantize_blocks<Bf16>(values, scales, where, w, stack, rows, columns, transposed, stream);
  return quantize_blocks<float>(values, scales, where, w, stack, rows, columns, transposed, stream);
}

}  // namespace athanor::cuda
