#include "src/backend/cuda/rope_kernels.cuh"

#include <initializer_list>

#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {
namespace {

/// One pair (a, b) becomes (a cos - b sin, a sin + b cos).
template <class T>
struct Rotate {
  T* x;
  const std::int32_t* positions;
  const acc_t<T>*cosines, *sines;
  RopePlaces places;
  IdCheck check;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t pair = i % places.pairs, head = i / places.pairs, t = head / places.heads;
    const std::int64_t position = positions[t];
    if (!check.contains(position)) {
      if (i % (places.pairs * places.heads) == 0) check.tell(position, t);
      return;
    }
    T* entries = x + head * places.head_dim + places.offset;
    T& first = entries[places.interleaved ? 2 * pair : pair];
    T& second = entries[places.interleaved ? 2 * pair + 1 : pair + places.pairs];
    const acc_t<T> a = widen(first), b = widen(second), c = cosines[position * places.pairs + pair];
    const acc_t<T> s = places.inverse ? -sines[position * places.pairs + pair] : sines[position * places.pairs + pair];
    first = narrow<T>(a * c - b * s);
    second = narrow<T>(a * s + b * c);
  }
};

/// `Word`: as many elements as divide every width.
template <class Word>
struct Assemble {
  Word *k, *v;
  const Word *kv, *k_pe;
  MlaWidths w;  ///< in words
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t key = w.nope + w.rope, width = key + w.value, head = i / width, c = i % width;
    if (c < w.nope)
      k[head * key + c] = kv[head * (w.nope + w.value) + c];
    else if (c < key)
      k[head * key + c] = k_pe[head / w.heads * w.rope + c - w.nope];
    else
      v[head * w.value + c - key] = kv[head * (w.nope + w.value) + c - w.rope];
  }
};

template <class Word>
struct SplitGradients {
  Word* dkv;
  const Word *dk, *dv;
  MlaWidths w;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t both = w.nope + w.value, head = i / both, c = i % both;
    dkv[i] = c < w.nope ? dk[head * (w.nope + w.rope) + c] : dv[head * w.value + c - w.nope];
  }
};

template <class T>
struct SumOverHeads {
  T* dk_pe;
  const T* dk;
  MlaWidths w;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t t = i / w.rope, c = i % w.rope, key = w.nope + w.rope;
    acc_t<T> sum{};
#pragma unroll 8
    for (std::int64_t h = 0; h < w.heads; ++h) sum += widen(dk[(t * w.heads + h) * key + w.nope + c]);
    dk_pe[i] = narrow<T>(sum);
  }
};

/// Calls f with the widest word that divides all pointers and widths, and the widths in such words.
template <class F>
cudaError_t with_words(DType dtype, const MlaWidths& w, std::initializer_list<const void*> pointers, F&& f) {
  const auto element = static_cast<std::int64_t>(size_bytes(dtype));
  std::uint64_t all = 16 | static_cast<std::uint64_t>((w.nope | w.rope | w.value) * element);
  for (const void* pointer : pointers) all |= reinterpret_cast<std::uintptr_t>(pointer);
  const auto word = static_cast<std::int64_t>(all & (~all + 1));
  const MlaWidths words{w.tokens, w.heads, w.nope * element / word, w.rope * element / word, w.value * element / word};
  if (word == 16) return f(uint4{}, words);
  if (word == 8) return f(std::uint64_t{}, words);
  if (word == 4) return f(std::uint32_t{}, words);
  return f(std::uint16_t{}, words);
}

}  // namespace

cudaError_t launch_rope(void* x, const std::int32_t* positions, const void* cosines, const void* sines, DType dtype,
                        std::int64_t rows, const RopePlaces& places, const IdCheck& check, cudaStream_t stream) {
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return for_each(Rotate<T>{static_cast<T*>(x), positions, static_cast<const acc_t<T>*>(cosines),
                              static_cast<const acc_t<T>*>(sines), places, check},
                    rows * places.heads * places.pairs, stream);
  });
}

cudaError_t launch_mla_assemble_kv(void* k, void* v, const void* kv, const void* k_pe, DType dtype, const MlaWidths& w,
                                   cudaStream_t stream) {
  return with_words(dtype, w, {k, v, kv, k_pe}, [&](auto word, const MlaWidths& words) {
    using Word = decltype(word);
    return for_each(Assemble<Word>{static_cast<Word*>(k), static_cast<Word*>(v), static_cast<const Word*>(kv),
                                   static_cast<const Word*>(k_pe), words},
                    w.tokens * w.heads * (words.nope + words.rope + words.value), stream);
  });
}

cudaError_t launch_mla_assemble_kv_backward(void* dkv, void* dk_pe, const void* dk, const void* dv, DType dtype,
                                            const MlaWidths& w, cudaStream_t stream) {
  const cudaError_t status = with_words(dtype, w, {dkv, dk, dv}, [&](auto word, const MlaWidths& words) {
    using Word = decltype(word);
    return for_each(SplitGradients<Word>{static_cast<Word*>(dkv), static_cast<const Word*>(dk),
                                         static_cast<const Word*>(dv), words},
                    w.tokens * w.heads * (words.nope + words.value), stream);
  });
  if (status != cudaSuccess) return status;
  return with_floating(dtype, [&](auto type) {
    using T = decltype(type);
    return for_each(SumOverHeads<T>{static_cast<T*>(dk_pe), static_cast<const T*>(dk), w}, w.tokens * w.rope, stream);
  });
}

}  // namespace athanor::cuda
