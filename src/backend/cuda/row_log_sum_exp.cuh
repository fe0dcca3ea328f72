// log sum exp of a row of logits by a team. Law: losses and sampling call this one function with teams of one size, so
// that the log-probability of a sampled token and the one training computes from the same logits are the same bits.
#pragma once

#include "src/backend/cuda/device.cuh"

namespace athanor::cuda {

template <class Acc>
struct LogSumExp {
  Acc highest;  ///< largest logit
  Acc value;    ///< log sum exp(logit)
};

/// The shape of a launch whose teams call log_sum_exp: one row a team.
inline LaunchShape logits_shape(std::int64_t rows, std::int64_t packs,
                                const std::source_location& where = std::source_location::current()) {
  return {static_cast<unsigned>(rows), team_threads(packs), 0, where};
}

/// Of logits * factor (rounded), in one pass: a thread carries its sum over to a new maximum as that rises.
template <class T>
__device__ LogSumExp<acc_t<T>> log_sum_exp(const Packs<const T>& logits, acc_t<T> factor = acc_t<T>{1}) {
  using Acc = acc_t<T>;
  constexpr int kCount = kPack<T>;
  const Acc lowest = -static_cast<Acc>(INFINITY);
  Acc highest = lowest, sum{}, values[kCount];
  const std::int64_t packs = packs_of(logits.count, kCount);
  for (std::int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    logits.load(p, values, lowest);
    Acc of_pack = highest;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (p * kCount + i < logits.count) values[i] = product(values[i], factor);
      of_pack = larger(of_pack, values[i]);
    }
    if (of_pack > highest) {
      sum *= exponential(highest - of_pack);
      highest = of_pack;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum += values[i] == lowest ? Acc{0} : exponential(values[i] - highest);
  }
  const Acc of_row = team_largest(highest);
  const double carried =
      highest == lowest ? static_cast<double>(sum)
                        : static_cast<double>(sum) * exp(static_cast<double>(highest) - static_cast<double>(of_row));
  return {of_row, static_cast<Acc>(static_cast<double>(of_row) + log(team_sum(carried)))};
}

}  // namespace athanor::cuda
