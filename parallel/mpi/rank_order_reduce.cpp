#include "parallel/mpi/rank_order_reduce.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kBlock = 1024;  // elements accumulated in cache at a time

template <class T, class Acc>
void reduce_blocks(T* out, std::span<const std::byte* const> contributions, std::int64_t count, ReduceOp op) {
  std::array<Acc, kBlock> acc;
  const auto divisor = static_cast<Acc>(contributions.size());
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    const T* first = reinterpret_cast<const T*>(contributions[0]) + begin;
    for (std::int64_t i = 0; i < n; ++i) acc[static_cast<std::size_t>(i)] = static_cast<Acc>(first[i]);
    for (std::size_t rank = 1; rank < contributions.size(); ++rank) {
      const T* next = reinterpret_cast<const T*>(contributions[rank]) + begin;
      if (op == ReduceOp::max)
        // A NaN of any rank stays one.
        for (std::int64_t i = 0; i < n; ++i) {
          Acc& a = acc[static_cast<std::size_t>(i)];
          const auto b = static_cast<Acc>(next[i]);
          a = b > a || b != b ? b : a;
        }
      else
        for (std::int64_t i = 0; i < n; ++i) acc[static_cast<std::size_t>(i)] += static_cast<Acc>(next[i]);
    }
    if (op == ReduceOp::mean)
      for (std::int64_t i = 0; i < n; ++i) acc[static_cast<std::size_t>(i)] /= divisor;
    for (std::int64_t i = 0; i < n; ++i) out[begin + i] = static_cast<T>(acc[static_cast<std::size_t>(i)]);
  }
}

}  // namespace

void reduce_in_rank_order(std::byte* out, std::span<const std::byte* const> contributions, std::int64_t count,
                          DType dtype, ReduceOp op) {
  if (op == ReduceOp::mean && !is_floating(dtype))
    throw Error("mean over ranks of " + std::string(to_string(dtype)) + ": take the sum, integers have no exact mean");
  switch (dtype) {
    case DType::f64:
      return reduce_blocks<double, double>(reinterpret_cast<double*>(out), contributions, count, op);
    case DType::f32:
      return reduce_blocks<float, float>(reinterpret_cast<float*>(out), contributions, count, op);
    case DType::bf16:
      return reduce_blocks<bf16, float>(reinterpret_cast<bf16*>(out), contributions, count, op);
    case DType::i64:
      return reduce_blocks<std::int64_t, std::int64_t>(reinterpret_cast<std::int64_t*>(out), contributions, count, op);
    case DType::i32:
      return reduce_blocks<std::int32_t, std::int32_t>(reinterpret_cast<std::int32_t*>(out), contributions, count, op);
    case DType::u8:
      return reduce_blocks<std::uint8_t, std::uint32_t>(reinterpret_cast<std::uint8_t*>(out), contributions, count, op);
  }
}

}  // namespace athanor
