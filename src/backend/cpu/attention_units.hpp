// Arithmetic of the attention kernels: vectors, the three kinds of number they multiply, and one small matrix
// product on packed tiles.
// Law: every sum runs in one order, l = 0, 1, 2, ..., each lane for itself and by fused multiply-add, whatever the
// block shape. So a lane's bits depend on its own operands alone: not on the tile, the batch, the threads, or on
// whether queries lie along lanes (training, prefill) or keys do (decode). Compiles for any -march: the vectors are the
// compiler's, split where the machine's are shorter.
#pragma once

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "src/backend/cpu/kernel.hpp"
#include "src/base/dtype.hpp"

namespace athanor::cpu::attention {

#define ATHANOR_INLINE [[gnu::always_inline]] inline

// ---- vectors

#ifdef __AVX512F__
inline constexpr int kVectorBytes = 64;
inline constexpr int kBlockRows = 8;  ///< times two vectors: the sums a register block keeps
#else
inline constexpr int kVectorBytes = 32;
inline constexpr int kBlockRows = 4;
#endif

template <class T>
struct Simd;
template <>
struct Simd<float> {
  using Int = std::int32_t;
  typedef float V __attribute__((vector_size(kVectorBytes)));
  typedef std::int32_t I __attribute__((vector_size(kVectorBytes)));
};
template <>
struct Simd<double> {
  using Int = std::int64_t;
  typedef double V __attribute__((vector_size(kVectorBytes)));
  typedef std::int64_t I __attribute__((vector_size(kVectorBytes)));
};

/// Any bytes as a T: no assumption on alignment or on the type that was stored.
template <class T>
ATHANOR_INLINE T load_as(const void* from) {
  T value;
  __builtin_memcpy(&value, from, sizeof(T));
  return value;
}
template <class T>
ATHANOR_INLINE void store_as(void* to, const T& value) {
  __builtin_memcpy(to, &value, sizeof(T));
}

/// 2^x for x <= 0 (to 1.5 ulp, 0 below 2^-126, NaN stays NaN, exp2(0) = 1). Polynomial: minimax on [-1/2, 1/2] with
/// p(0) = 1, relative error 2.6e-9.
ATHANOR_INLINE Simd<float>::V exp2_nonpositive(const Simd<float>::V& x) {
  using V = Simd<float>::V;
  typedef std::uint32_t Bits __attribute__((vector_size(kVectorBytes)));
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to an integer, which its low bits then hold
  const V shifted = x + kRound;
  const V f = x - (shifted - kRound);
  V p = f * 1.559467782e-4F + 1.340664341e-3F;
  p = p * f + 9.617692791e-3F;
  p = p * f + 5.550310388e-2F;
  p = p * f + 2.402265221e-1F;
  p = p * f + 6.931472421e-1F;
  p = p * f + 1.0F;
  const V power = reinterpret_cast<V>((reinterpret_cast<Bits>(shifted) << 23) + 0x3f800000U);
  const V result = p * power;
  return x < -126.0F ? V{} : result;
}
ATHANOR_INLINE Simd<double>::V exp2_nonpositive(const Simd<double>::V& x) {
  Simd<double>::V result{};
  for (std::size_t i = 0; i < sizeof(x) / sizeof(double); ++i) result[i] = std::exp2(x[i]);
  return result;
}

// ---- units: what one multiply-add takes from each operand

/// f32 or f64: a unit is one number, tensors are read in place.
template <class T>
struct PlainUnits {
  using Element = T;
  using Acc = T;
  using Unit = T;
  using UnitVector = typename Simd<T>::V;
  static constexpr int kPair = 1;         ///< elements of the summed dim in a unit
  static constexpr bool kInPlace = true;  ///< rows of a tensor can be read as units

  ATHANOR_INLINE static void fma(typename Simd<T>::V& acc, const Unit& a, const UnitVector& b) { acc += a * b; }
  ATHANOR_INLINE static const Unit* in_place(const Element* row) { return row; }
};

/// bf16 widened to f32: for machines without bf16 dot products, and for odd widths.
struct WidenedUnits : PlainUnits<float> {
  using Element = bf16;
  static constexpr bool kInPlace = false;
  static const Unit* in_place(const Element*) { return nullptr; }
};

#ifdef __AVX512BF16__
/// bf16 in pairs: a unit is two numbers neighbouring along the summed dim; products are summed in f32.
struct PairUnits {
  using Element = bf16;
  using Acc = float;
  using Unit = std::uint32_t;
  typedef std::uint32_t UnitVector __attribute__((vector_size(kVectorBytes)));
  static constexpr int kPair = 2;
  static constexpr bool kInPlace = true;

  ATHANOR_INLINE static void fma(Simd<float>::V& acc, const Unit& a, const UnitVector& b) {
    const __m512i both = _mm512_set1_epi32(static_cast<int>(a));
    acc = reinterpret_cast<Simd<float>::V>(_mm512_dpbf16_ps(
        reinterpret_cast<__m512>(acc), reinterpret_cast<__m512bh>(both), reinterpret_cast<__m512bh>(b)));
  }
  ATHANOR_INLINE static const Unit* in_place(const Element* row) { return reinterpret_cast<const Unit*>(row); }
};
#endif

template <class P>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(typename P::Acc));

/// Units that hold `elements` numbers of the summed dim.
template <class P>
constexpr std::int64_t units(std::int64_t elements) {
  return (elements + P::kPair - 1) / P::kPair;
}
/// Rounded up to whole vectors.
template <class P>
constexpr std::int64_t padded(std::int64_t lanes) {
  return (lanes + kLanes<P> - 1) / kLanes<P> * kLanes<P>;
}

/// One unit from two numbers that follow each other along the summed dim (the second ignored where a unit is one).
template <class P>
ATHANOR_INLINE typename P::Unit make_unit(typename P::Element first, [[maybe_unused]] typename P::Element second) {
  if constexpr (P::kPair == 2)
    return first.bits | static_cast<std::uint32_t>(second.bits) << 16;
  else
    return static_cast<typename P::Unit>(first);
}
/// The same from computed values, lane by lane.
template <class P>
ATHANOR_INLINE typename P::UnitVector make_units(const typename Simd<typename P::Acc>::V& first,
                                                 [[maybe_unused]] const typename Simd<typename P::Acc>::V& second) {
#ifdef __AVX512BF16__
  if constexpr (P::kPair == 2) {
    typedef std::uint16_t Half __attribute__((vector_size(kVectorBytes / 2)));
    const auto round = [](const auto& values) {
      return __builtin_convertvector(reinterpret_cast<Half>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(values))),
                                     typename P::UnitVector);
    };
    return round(first) | (round(second) << 16);
  }
#endif
  if constexpr (P::kPair == 1) return first;
}

/// Lanes as units along the lanes: pairs hold two neighbouring lanes.
template <class P>
ATHANOR_INLINE void store_lanes(typename P::Unit* to, const typename Simd<typename P::Acc>::V& values) {
#ifdef __AVX512BF16__
  if constexpr (P::kPair == 2) {
    const __m256bh rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(values));
    std::memcpy(to, &rounded, sizeof(rounded));
    return;
  }
#endif
  if constexpr (P::kPair == 1) store_as(to, values);
}

// ---- product of packed tiles

/// C[M, N vectors] (+)= A * B for one register block. A by rows: a[m*lda + l]; by columns: a[l*lda + m].
template <class P, bool kByColumns, int M, int N>
ATHANOR_INLINE void product_block(std::int64_t depth, const typename P::Unit* a, std::int64_t lda,
                                  const typename P::Unit* b, std::int64_t ldb, typename P::Acc* c, std::int64_t ldc,
                                  bool accumulate) {
  using V = typename Simd<typename P::Acc>::V;
  V acc[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) acc[m][n] = accumulate ? load_as<V>(c + m * ldc + n * kLanes<P>) : V{};
  for (std::int64_t l = 0; l < depth; ++l) {
    typename P::UnitVector b_l[N];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) b_l[n] = load_as<typename P::UnitVector>(b + l * ldb + n * kLanes<P>);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const auto a_l = load_as<typename P::Unit>(a + (kByColumns ? l * lda + m : m * lda + l));
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) P::fma(acc[m][n], a_l, b_l[n]);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) store_as(c + m * ldc + n * kLanes<P>, acc[m][n]);
}

template <class P, bool kByColumns, int N>
void product_rows(std::int64_t rows, std::int64_t depth, const typename P::Unit* a, std::int64_t lda,
                  const typename P::Unit* b, std::int64_t ldb, typename P::Acc* c, std::int64_t ldc, bool accumulate) {
  const std::int64_t step = kByColumns ? 1 : lda;
  std::int64_t m = 0;
  for (; m + kBlockRows <= rows; m += kBlockRows)
    product_block<P, kByColumns, kBlockRows, N>(depth, a + m * step, lda, b, ldb, c + m * ldc, ldc, accumulate);
  if (m + kBlockRows / 2 <= rows) {
    product_block<P, kByColumns, kBlockRows / 2, N>(depth, a + m * step, lda, b, ldb, c + m * ldc, ldc, accumulate);
    m += kBlockRows / 2;
  }
  for (; m < rows; ++m)
    product_block<P, kByColumns, 1, N>(depth, a + m * step, lda, b, ldb, c + m * ldc, ldc, accumulate);
}

/// C[rows, vectors*lanes] (+)= A[rows, depth] * B[depth, vectors*lanes], A given by rows or by columns.
template <class P, bool kByColumns>
void product(std::int64_t rows, std::int64_t vectors, std::int64_t depth, const typename P::Unit* a, std::int64_t lda,
             const typename P::Unit* b, std::int64_t ldb, typename P::Acc* c, std::int64_t ldc, bool accumulate) {
  std::int64_t n = 0;
  for (; n + 2 <= vectors; n += 2)
    product_rows<P, kByColumns, 2>(rows, depth, a, lda, b + n * kLanes<P>, ldb, c + n * kLanes<P>, ldc, accumulate);
  if (n < vectors)
    product_rows<P, kByColumns, 1>(rows, depth, a, lda, b + n * kLanes<P>, ldb, c + n * kLanes<P>, ldc, accumulate);
}

// ---- packing

/// As many elements as a vector of Acc has lanes, widened.
template <class P>
ATHANOR_INLINE typename Simd<typename P::Acc>::V load_wide(const typename P::Element* from) {
  using V = typename Simd<typename P::Acc>::V;
  if constexpr (std::is_same_v<typename P::Element, bf16>) {
    typedef std::uint16_t Half __attribute__((vector_size(kVectorBytes / 2)));
    typedef std::uint32_t Whole __attribute__((vector_size(kVectorBytes)));
    return reinterpret_cast<V>(__builtin_convertvector(load_as<Half>(from), Whole) << 16);
  } else {
    return load_as<V>(from);
  }
}
/// A vector's worth of units from a row.
template <class P>
ATHANOR_INLINE typename P::UnitVector load_units(const typename P::Element* from) {
  if constexpr (P::kPair == 2)
    return load_as<typename P::UnitVector>(from);
  else
    return load_wide<P>(from);
}

/// rows[i][l] becomes rows[l][i], i and l below kCount: halves, quarters, ... of the vectors change places in turn.
template <class Vector, int kCount>
ATHANOR_INLINE void transpose(Vector (&rows)[kCount]) {
  using Int = typename Simd<std::conditional_t<sizeof(Vector) / kCount == 8, double, float>>::I;
  Int lane{};
  for (int i = 0; i < kCount; ++i) lane[i] = i;
#pragma GCC unroll 4
  for (int block = kCount / 2; block > 0; block /= 2) {
    const Int upper = (lane & block) != 0;
    const Int low = upper ? lane + kCount - block : lane, high = upper ? lane + kCount : lane + block;
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      if (i & block) continue;
      const Vector a = rows[i], b = rows[i + block];
      rows[i] = __builtin_shuffle(a, b, low);
      rows[i + block] = __builtin_shuffle(a, b, high);
    }
  }
}

/// to[u, lane] = unit u of the row of `width` elements at row(lane). Lanes past `rows` get zeros.
template <class P, class Row>
void pack_lanes(typename P::Unit* to, std::int64_t lanes, std::int64_t rows, std::int64_t width, const Row& row) {
  std::int64_t done = 0;
  for (; (done + kLanes<P>)*P::kPair <= width; done += kLanes<P>)
    for (std::int64_t lane = 0; lane < lanes; lane += kLanes<P>) {
      typename P::UnitVector block[kLanes<P>];
#pragma GCC unroll 16
      for (std::int64_t i = 0; i < kLanes<P>; ++i)
        block[i] = lane + i < rows ? load_units<P>(row(lane + i) + done * P::kPair) : typename P::UnitVector{};
      transpose(block);
#pragma GCC unroll 16
      for (std::int64_t i = 0; i < kLanes<P>; ++i) store_as(to + (done + i) * lanes + lane, block[i]);
    }
  for (std::int64_t u = done; u < units<P>(width); ++u) {
    const std::int64_t first = u * P::kPair, second = first + P::kPair - 1;
    for (std::int64_t lane = 0; lane < rows; ++lane)
      to[u * lanes + lane] = make_unit<P>(row(lane)[first], second < width ? row(lane)[second] : typename P::Element{});
    for (std::int64_t lane = rows; lane < lanes; ++lane) to[u * lanes + lane] = typename P::Unit{};
  }
}

/// The way back: row(lane)[d] = from[d, lane] * factor[lane].
template <class P, class Row>
void unpack_lanes(const typename P::Acc* from, std::int64_t lanes, const typename P::Acc* factor, std::int64_t rows,
                  std::int64_t width, const Row& row) {
  using V = typename Simd<typename P::Acc>::V;
  std::int64_t done = 0;
  for (; done + kLanes<P> <= width; done += kLanes<P>)
    for (std::int64_t lane = 0; lane < rows; lane += kLanes<P>) {
      const V factors = load_as<V>(factor + lane);
      V block[kLanes<P>];
#pragma GCC unroll 16
      for (std::int64_t i = 0; i < kLanes<P>; ++i) block[i] = load_as<V>(from + (done + i) * lanes + lane) * factors;
      transpose(block);
      for (std::int64_t i = 0; i < std::min<std::int64_t>(kLanes<P>, rows - lane); ++i) {
        typename P::Element* to = row(lane + i) + done;
        for (int d = 0; d < kLanes<P>; ++d) to[d] = store<typename P::Element>(block[i][d]);
      }
    }
  for (std::int64_t lane = 0; lane < rows; ++lane)
    for (std::int64_t d = done; d < width; ++d)
      row(lane)[d] = store<typename P::Element>(from[d * lanes + lane] * factor[lane]);
}

/// Sum over d of a[d] * b[d].
template <class P>
typename P::Acc dot(const typename P::Element* a, const typename P::Element* b, std::int64_t width) {
  typename Simd<typename P::Acc>::V sums{};
  std::int64_t d = 0;
  for (; d + kLanes<P> <= width; d += kLanes<P>) sums += load_wide<P>(a + d) * load_wide<P>(b + d);
  typename P::Acc sum{};
  for (; d < width; ++d) sum += load(a[d]) * load(b[d]);
  for (int i = 0; i < kLanes<P>; ++i) sum += sums[i];
  return sum;
}

/// to[r / kPair, c] = elements of rows r (and r + 1) in column c: rows along the summed dim. Columns up to `columns`
/// and the missing partner of an odd last row get zeros.
template <class P>
void pack_rows(typename P::Unit* to, std::int64_t columns, const typename P::Element* from, std::int64_t stride,
               std::int64_t rows, std::int64_t width) {
  for (std::int64_t r = 0; r < rows; r += P::kPair) {
    typename P::Unit* row = to + r / P::kPair * columns;
    const typename P::Element* first = from + r * stride;
    if (P::kPair == 1 || r + 1 < rows) {
      const typename P::Element* second = first + (P::kPair - 1) * stride;
      for (std::int64_t c = 0; c < width; ++c) row[c] = make_unit<P>(first[c], second[c]);
    } else {
      for (std::int64_t c = 0; c < width; ++c) row[c] = make_unit<P>(first[c], typename P::Element{});
    }
    for (std::int64_t c = width; c < columns; ++c) row[c] = typename P::Unit{};
  }
}

/// Memory that grows to the largest request of its thread and stays, cut into pieces on vector borders. Describe the
/// pieces once in a function of a Carver; it runs twice, to count and to cut.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  template <class T>
  void take(T*& piece, std::int64_t count) {
    piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
  }
  std::size_t used_bytes() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

struct FreeAligned {
  void operator()(std::byte* data) const { ::operator delete[](data, std::align_val_t{64}); }
};

template <class Layout>
void carve_scratch(const Layout& layout) {
  thread_local std::unique_ptr<std::byte[], FreeAligned> memory;
  thread_local std::size_t capacity = 0;
  Carver count(nullptr);
  layout(count);
  if (count.used_bytes() > capacity) {
    memory.reset();
    memory.reset(new (std::align_val_t{64}) std::byte[count.used_bytes()]);
    capacity = count.used_bytes();
  }
  Carver cut(memory.get());
  layout(cut);
}

}  // namespace athanor::cpu::attention
