#include "src/backend/cuda/memory_kernels.cuh"

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/philox.cuh"

namespace athanor::cuda {
namespace {

/// The widest word of which pointers and sizes are multiples, in bytes.
template <class... Values>
unsigned word_bytes(Values... values) {
  std::uint64_t all = 16;
  ((all |= static_cast<std::uint64_t>(values)), ...);
  return static_cast<unsigned>(all & (~all + 1));
}
std::uint64_t address(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

template <class F>
cudaError_t with_word(unsigned bytes, F&& f) {
  switch (bytes) {
    case 16:
      return f(uint4{});
    case 8:
      return f(std::uint64_t{});
    case 4:
      return f(std::uint32_t{});
    case 2:
      return f(std::uint16_t{});
    default:
      return f(std::uint8_t{});
  }
}

// ---- fill and convert

template <class T>
struct Fill {
  T* dst;
  T value;
  std::int64_t count;
  __device__ void operator()(std::int64_t pack) const {
    constexpr int kCount = 16 / static_cast<int>(sizeof(T));
    const std::int64_t begin = pack * kCount;
    if (begin + kCount <= count) {
      Pack<T, kCount> whole;
#pragma unroll
      for (int i = 0; i < kCount; ++i) whole.at[i] = value;
      *reinterpret_cast<Pack<T, kCount>*>(dst + begin) = whole;
      return;
    }
    for (std::int64_t i = begin; i < count; ++i) dst[i] = value;
  }
};
template <class T>
struct FillOne {
  T* dst;
  T value;
  __device__ void operator()(std::int64_t i) const { dst[i] = value; }
};

template <class T>
cudaError_t fill_as(void* dst, std::uint64_t bits, std::int64_t count, cudaStream_t stream) {
  if (is_aligned(dst, 16))
    return for_each(Fill<T>{static_cast<T*>(dst), static_cast<T>(bits), count},
                    packs_of(count, 16 / static_cast<std::int64_t>(sizeof(T))), stream);
  return for_each(FillOne<T>{static_cast<T*>(dst), static_cast<T>(bits)}, count, stream);
}

template <class To, class From>
struct Convert {
  static constexpr int kCount = 4;
  Packs<To, kCount> to;
  Packs<const From, kCount> from;
  __device__ void operator()(std::int64_t pack) const {
    acc_t<From> values[kCount];
    from.load(pack, values);
    to.store(pack, values);
  }
};

// ---- normal numbers

template <class T>
struct FillNormal {
  T* dst;
  double std;
  DevicePhilox random;
  NormalBox box;
  __device__ void operator()(std::int64_t i) const {
    std::int64_t rest = i, number = 0, stride = 1;
    for (int d = box.ndim - 1; d >= 0; --d) {
      number += (box.offset[d] + rest % box.extent[d]) * stride;
      rest /= box.extent[d];
      stride *= box.global[d];
    }
    dst[i] = narrow<T>(static_cast<acc_t<T>>(std * random.normal(static_cast<std::uint64_t>(number))));
  }
};

// ---- rows

template <class Word, bool kScatter>
__global__ void move_rows_kernel(Word* dst, const Word* src, const std::int32_t* ids, std::int64_t per,
                                 std::int64_t rows, std::int64_t words, IdCheck check) {
  const std::int64_t r = team_row();
  if (r >= rows) return;
  const std::int32_t id = ids[r];
  const bool holds = check.contains(id);
  if (!holds && threadIdx.x == 0) check.tell(id, r);
  if constexpr (kScatter) {
    if (!holds || id < 0) return;
    for (std::int64_t i = threadIdx.x; i < words; i += blockDim.x) dst[id * words + i] = src[r * words + i];
  } else {
    const bool none = !holds || id < 0;
    for (std::int64_t i = threadIdx.x; i < words; i += blockDim.x)
      dst[r * words + i] = none ? Word{} : src[id / per * words + i];
  }
}

template <bool kScatter>
cudaError_t move_rows(void* dst, const void* src, const std::int32_t* ids, std::int64_t per, std::int64_t rows,
                      std::int64_t row_bytes, const IdCheck& check, cudaStream_t stream) {
  if (rows == 0 || row_bytes == 0) return cudaSuccess;
  return with_word(word_bytes(address(dst), address(src), row_bytes), [&](auto word) {
    using Word = decltype(word);
    const std::int64_t words = row_bytes / static_cast<std::int64_t>(sizeof(Word));
    return launch(move_rows_kernel<Word, kScatter>, team_shape(rows, words), stream, static_cast<Word*>(dst),
                  static_cast<const Word*>(src), ids, per, rows, words, check);
  });
}

/// A block for each place of the order and each stretch of columns; the first place of an id adds its rows.
template <class T>
__global__ void add_sorted_rows_kernel(Rows<acc_t<T>, kPack<T>> dst, Rows<const T> src, const std::int32_t* ids,
                                       const std::int32_t* order, std::int64_t count, IdCheck check) {
  const std::int64_t first = blockIdx.x;
  const std::int32_t id = ids[order[first]];
  if (!check.contains(id) && threadIdx.x == 0) check.tell(id, order[first]);
  if (id < 0 || id >= check.limit) return;
  if (first > 0 && ids[order[first - 1]] == id) return;
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (pack * kPack<T> >= src.width) return;
  acc_t<T> sum[kPack<T>], more[kPack<T>];
  dst.row(id).load(pack, sum);
  for (std::int64_t i = first; i < count && ids[order[i]] == id; ++i) {
    src.row(order[i]).load(pack, more);
#pragma unroll
    for (int e = 0; e < kPack<T>; ++e) sum[e] += more[e];
  }
  dst.row(id).store(pack, sum);
}

struct LocalIds {
  std::int32_t* out;
  const std::int32_t* ids;
  std::int64_t begin, count;
  __device__ void operator()(std::int64_t r) const {
    const std::int64_t local = ids[r] - begin;
    out[r] = local >= 0 && local < count ? static_cast<std::int32_t>(local) : -1;
  }
};

// ---- columns

template <class Word>
struct Columns {
  Word *whole, *a, *b;
  std::int64_t a_words, b_words;
  bool split;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t both = a_words + b_words, r = i / both, c = i % both;
    Word& part = c < a_words ? a[r * a_words + c] : b[r * b_words + c - a_words];
    if (split)
      part = whole[i];
    else
      whole[i] = part;
  }
};

}  // namespace

cudaError_t launch_fill(void* dst, std::uint64_t bits, std::size_t element_bytes, std::int64_t count,
                        cudaStream_t stream) {
  switch (element_bytes) {
    case 1:
      return fill_as<std::uint8_t>(dst, bits, count, stream);
    case 2:
      return fill_as<std::uint16_t>(dst, bits, count, stream);
    case 4:
      return fill_as<std::uint32_t>(dst, bits, count, stream);
    case 8:
      return fill_as<std::uint64_t>(dst, bits, count, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t launch_convert(void* dst, DType dst_type, const void* src, DType src_type, std::int64_t count,
                           cudaStream_t stream) {
  return with_floating(dst_type, [&](auto to) {
    return with_floating(src_type, [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      constexpr int kCount = Convert<To, From>::kCount;
      return for_each(Convert<To, From>{packs_at<To, kCount>(static_cast<To*>(dst), count),
                                        packs_at<const From, kCount>(static_cast<const From*>(src), count)},
                      packs_of(count, kCount), stream);
    });
  });
}

cudaError_t launch_fill_normal(void* dst, DType dtype, double std, std::uint64_t seed, std::uint32_t purpose,
                               std::uint64_t stream_id, const NormalBox& box, cudaStream_t stream) {
  std::int64_t count = 1;
  for (int d = 0; d < box.ndim; ++d) count *= box.extent[d];
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return for_each(FillNormal<T>{static_cast<T*>(dst), std, DevicePhilox(seed, purpose, stream_id), box}, count,
                    stream);
  });
}

cudaError_t launch_gather_rows(void* dst, const void* src, const std::int32_t* ids, std::int64_t per, std::int64_t rows,
                               std::int64_t row_bytes, const IdCheck& check, cudaStream_t stream) {
  return move_rows<false>(dst, src, ids, per, rows, row_bytes, check, stream);
}

cudaError_t launch_scatter_rows(void* dst, const void* src, const std::int32_t* ids, std::int64_t rows,
                                std::int64_t row_bytes, const IdCheck& check, cudaStream_t stream) {
  return move_rows<true>(dst, src, ids, 1, rows, row_bytes, check, stream);
}

cudaError_t launch_add_sorted_rows(void* dst, const void* src, DType src_type, const std::int32_t* ids,
                                   const std::int32_t* order, std::int64_t count, std::int64_t width,
                                   const IdCheck& check, cudaStream_t stream) {
  if (count == 0 || width == 0) return cudaSuccess;
  return with_floating(src_type, [&](auto type) {
    using T = decltype(type);
    const std::int64_t packs = packs_of(width, kPack<T>);
    const unsigned threads = team_threads(packs);
    return launch(add_sorted_rows_kernel<T>,
                  {{static_cast<unsigned>(count), static_cast<unsigned>(packs_of(packs, threads))}, threads}, stream,
                  rows_at<acc_t<T>, kPack<T>>(static_cast<acc_t<T>*>(dst), width),
                  rows_at(static_cast<const T*>(src), width), ids, order, count, check);
  });
}

cudaError_t launch_local_ids(std::int32_t* out, const std::int32_t* ids, std::int64_t begin, std::int64_t count,
                             std::int64_t rows, cudaStream_t stream) {
  return for_each(LocalIds{out, ids, begin, count}, rows, stream);
}

cudaError_t launch_columns(void* whole, void* a, void* b, std::int64_t rows, std::int64_t a_bytes, std::int64_t b_bytes,
                           bool split, cudaStream_t stream) {
  return with_word(word_bytes(address(whole), address(a), address(b), a_bytes, b_bytes), [&](auto word) {
    using Word = decltype(word);
    const auto bytes = static_cast<std::int64_t>(sizeof(Word));
    return for_each(Columns<Word>{static_cast<Word*>(whole), static_cast<Word*>(a), static_cast<Word*>(b),
                                  a_bytes / bytes, b_bytes / bytes, split},
                    rows * ((a_bytes + b_bytes) / bytes), stream);
  });
}

}  // namespace athanor::cuda
