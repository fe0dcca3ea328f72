// Rotary position embedding in place: entry pairs (a, b) of a head become (a cos - b sin, a sin + b cos).
#include <bit>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/row_ids.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::load;
using cpu::put;

/// Rotates `pairs` pairs of one head; `sign` -1 turns back.
template <RopeLayout kLayout, class T, class Acc>
void rotate(T* x, const Acc* cosines, const Acc* sines, std::int64_t pairs, Acc sign) {
#pragma omp simd
  for (std::int64_t i = 0; i < pairs; ++i) {
    const std::int64_t first = kLayout == RopeLayout::interleaved ? 2 * i : i;
    const std::int64_t second = kLayout == RopeLayout::interleaved ? 2 * i + 1 : i + pairs;
    const Acc a = load(x[first]), b = load(x[second]), c = cosines[i], s = sign * sines[i];
    put(x[first], a * c - b * s);
    put(x[second], a * s + b * c);
  }
}

/// A neighbouring pair of bf16 is one 32-bit word, the first in its lower half: loops over words vectorise.
template <>
void rotate<RopeLayout::interleaved>(bf16* x, const float* cosines, const float* sines, std::int64_t pairs,
                                     float sign) {
  static_assert(std::endian::native == std::endian::little);
  typedef std::uint32_t Word __attribute__((may_alias, aligned(2)));
  Word* words = reinterpret_cast<Word*>(x);
#pragma omp simd
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float a = std::bit_cast<float>(words[i] << 16), b = std::bit_cast<float>(words[i] & 0xffff0000U);
    const float c = cosines[i], s = sign * sines[i];
    words[i] = bf16::rounded_bits(a * c - b * s) | std::uint32_t{bf16::rounded_bits(a * s + b * c)} << 16;
  }
}

}  // namespace

void CpuBackend::rope(Tensor x_TC, const Tensor& positions_T, const Tensor& cos_PR, const Tensor& sin_PR,
                      const RopeArgs& args, Stream& stream) {
  const std::int64_t rows = x_TC.shape().flat_rows(), pairs = args.rope_dim / 2;
  require_rope("rope", x_TC, positions_T, cos_PR, sin_PR, args);
  cpu::dispatch_floating(x_TC.dtype(), "rope", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const auto* positions = data<std::int32_t>(positions_T);
      cpu::require_ids("rope (positions)", positions, rows, cos_PR.shape().flat_rows());
      T* x = data<T>(x_TC) + args.offset;
      const Acc *cosines = data<Acc>(cos_PR), *sines = data<Acc>(sin_PR);
      const Acc sign = args.inverse ? Acc{-1} : Acc{1};
      const std::int64_t row_bytes = args.num_heads * args.rope_dim * std::int64_t{2 * sizeof(T)};
      cpu::parallel_rows(rows, 16, row_bytes, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          const Acc *c = cosines + positions[t] * pairs, *s = sines + positions[t] * pairs;
          for (std::int64_t h = 0; h < args.num_heads; ++h) {
            T* head = x + (t * args.num_heads + h) * args.head_dim;
            if (args.layout == RopeLayout::interleaved)
              rotate<RopeLayout::interleaved>(head, c, s, pairs, sign);
            else
              rotate<RopeLayout::half>(head, c, s, pairs, sign);
          }
        }
      });
    });
  });
}

}  // namespace athanor
