// log sum exp of a row of logits. Law: losses and sampling call this one function, so that the log-probability of a
// sampled token and the one training computes from the same logits are the same bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/vector_math.hpp"

namespace athanor::cpu {

template <class Acc>
struct LogSumExp {
  Acc highest;  ///< largest logit
  Acc value;    ///< log sum exp(logit)
};

/// Of logits[0..count), in one pass over memory: blocks that fit the first cache, whose sums are carried over
/// to a new maximum as it rises.
template <class T>
LogSumExp<acc_t<T>> log_sum_exp(const T* logits, std::int64_t count) {
  using Acc = acc_t<T>;
  constexpr std::int64_t kBlock = 2048;
  Acc highest = -std::numeric_limits<Acc>::infinity();
  double sum = 0.0;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, count);
    Acc block_highest = -std::numeric_limits<Acc>::infinity();
#pragma omp simd reduction(max : block_highest)
    for (std::int64_t i = begin; i < end; ++i) block_highest = std::max(block_highest, load(logits[i]));
    if (block_highest > highest) {
      sum = sum == 0.0 ? 0.0 : sum * std::exp(static_cast<double>(highest) - static_cast<double>(block_highest));
      highest = block_highest;
    }
    Acc block_sum{};
#pragma omp simd reduction(+ : block_sum)
    for (std::int64_t i = begin; i < end; ++i) block_sum += cpu::exp(load(logits[i]) - highest);
    sum += static_cast<double>(block_sum);
  }
  return {highest, static_cast<Acc>(static_cast<double>(highest) + std::log(sum))};
}

}  // namespace athanor::cpu
