// What keeps a loop over sampled tokens on the device. A thread a row: there are as many rows as sequences.
#include "src/backend/cuda/generation_kernels.cuh"

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/philox.cuh"

namespace athanor::cuda {
namespace {

struct RowOfToken {
  std::int32_t* rows_R;
  CachePlaces at;
  IdCheck slots, positions;
  __device__ void operator()(std::int64_t r) const {
    const std::int32_t slot = at.slots_R[r], position = at.positions_R[r];
    std::int64_t row = -1;
    if (slots.holds(slot, r) && positions.holds(position, r) && at.lengths_R[r] != 0)
      row = at.pages_SP[slot * at.pages_per_slot + position / at.page_rows] * at.page_rows + position % at.page_rows;
    rows_R[r] = static_cast<std::int32_t>(row);
  }
};

/// src/base/sampling_key.hpp.
struct SamplingKey {
  std::int64_t* keys_R;
  const std::int64_t* prompts_R;
  const std::int32_t *siblings_R, *counts_R;
  __device__ void operator()(std::int64_t r) const {
    const auto prompt = static_cast<std::uint64_t>(prompts_R[r]);
    const PhiloxWords w = device_philox4x32(
        static_cast<std::uint32_t>(prompt), static_cast<std::uint32_t>(prompt >> 32),
        static_cast<std::uint32_t>(siblings_R[r]), static_cast<std::uint32_t>(counts_R[r]), 0x243F6A88U, 0x85A308D3U);
    keys_R[r] = static_cast<std::int64_t>(std::uint64_t{w.at[0]} << 32 | w.at[1]);
  }
};

constexpr unsigned kThreadsOfStep = 256;

/// One block, so that the step is counted on when every row has read it.
template <class Acc>
__global__ void __launch_bounds__(kThreadsOfStep) advance_kernel(AdvancedRows a, IdCheck steps) {
  const std::int32_t step = a.step_1[0];
  const bool holds = steps.contains(step);
  __syncthreads();
  if (threadIdx.x == 0) {
    if (!holds) steps.tell(step, 0);
    a.step_1[0] = step + 1;
  }
  if (!holds) return;
  auto* logprobs = static_cast<Acc*>(a.logprobs_NR) + step * a.rows;
  for (std::int64_t r = threadIdx.x; r < a.rows; r += kThreadsOfStep) {
    const bool ended = a.lengths_R[r] == 0;
    const std::int32_t id = a.ids_R[r];
    a.tokens_NR[step * a.rows + r] = ended ? -1 : id;
    logprobs[r] = ended ? Acc{0} : static_cast<const Acc*>(a.logprobs_R)[r];
    if (ended) continue;
    a.tokens_R[r] = id;
    a.positions_R[r] += 1;
    const std::int32_t written = a.counts_R[r] + 1;
    a.counts_R[r] = written;
    bool ends = written >= a.most_tokens;
    for (std::int64_t i = 0; i < a.num_stop_ids; ++i) ends = ends || a.stop_ids_S[i] == id;
    a.lengths_R[r] = ends ? 0 : a.lengths_R[r] + 1;
  }
}

}  // namespace

cudaError_t launch_sampling_keys(std::int64_t* keys_R, const std::int64_t* prompts_R, const std::int32_t* siblings_R,
                                 const std::int32_t* counts_R, std::int64_t rows, cudaStream_t stream) {
  return for_each(SamplingKey{keys_R, prompts_R, siblings_R, counts_R}, rows, stream);
}

cudaError_t launch_advance_rows(const AdvancedRows& rows, DType acc, const IdCheck& steps, cudaStream_t stream) {
  const LaunchShape shape{dim3(1), dim3(kThreadsOfStep), 0};
  return acc == DType::f64 ? launch(advance_kernel<double>, shape, stream, rows, steps)
                           : launch(advance_kernel<float>, shape, stream, rows, steps);
}

cudaError_t launch_cache_rows(std::int32_t* rows_R, const CachePlaces& places, std::int64_t rows, const IdCheck& slots,
                              const IdCheck& positions, cudaStream_t stream) {
  return for_each(RowOfToken{rows_R, places, slots, positions}, rows, stream);
}

}  // namespace athanor::cuda
