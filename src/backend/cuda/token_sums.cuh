// Sums of eight numbers over tokens by one block. Law: a thread adds every kThreads-th token in order, threads are
// added in order; so the sums depend on the operands alone.
#pragma once

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/token_loss_kernels.cuh"

namespace athanor::cuda {

struct TokenSums {
  double at[kTokenSums] = {};
};

/// f(i, sums) for every i in [0, count), by the block; then sums += what was added. `largest` (or -1) is a maximum.
template <class F>
__device__ void add_token_sums(double* sums, std::int64_t count, int largest, const F& f) {
  TokenSums mine;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) f(i, mine);
  for (int s = 0; s < kTokenSums; ++s) {
    const double all = s == largest ? team_largest(mine.at[s]) : team_sum(mine.at[s]);
    if (threadIdx.x == 0) sums[s] = s == largest ? larger(sums[s], all) : sums[s] + all;
  }
}

}  // namespace athanor::cuda
