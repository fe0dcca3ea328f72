// What keeps a loop over sampled tokens on the device.
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/generation_kernels.cuh"

namespace athanor::cuda {

void CudaBackend::cache_rows(Tensor rows_R, const Tensor& pages_SP, const Tensor& slots_R, const Tensor& positions_R,
                             const Tensor& lengths_R, std::int64_t page_rows, Stream& stream) {
  require_cache_rows("cache_rows", rows_R, pages_SP, slots_R, positions_R, lengths_R, page_rows);
  const Call call("cache_rows", stream, {rows_R, pages_SP, slots_R, positions_R, lengths_R});
  const CachePlaces places{data<std::int32_t>(pages_SP),
                           data<std::int32_t>(slots_R),
                           data<std::int32_t>(positions_R),
                           data<std::int32_t>(lengths_R),
                           pages_SP.dim(1),
                           page_rows};
  call.check(launch_cache_rows(data<std::int32_t>(rows_R), places, rows_R.numel(),
                               call.ids("cache_rows: slots", pages_SP.dim(0)),
                               call.ids("cache_rows: positions", pages_SP.dim(1) * page_rows), call.stream()));
}

void CudaBackend::sampling_keys(Tensor keys_R, const Tensor& prompts_R, const Tensor& siblings_R,
                                const Tensor& counts_R, Stream& stream) {
  require_sampling_keys("sampling_keys", keys_R, prompts_R, siblings_R, counts_R);
  const Call call("sampling_keys", stream, {keys_R, prompts_R, siblings_R, counts_R});
  call.check(launch_sampling_keys(data<std::int64_t>(keys_R), data<std::int64_t>(prompts_R),
                                  data<std::int32_t>(siblings_R), data<std::int32_t>(counts_R), keys_R.numel(),
                                  call.stream()));
}

void CudaBackend::advance_rows(const WrittenRows& rows, Tensor tokens_NR, Tensor logprobs_NR, Tensor step_1,
                               const Tensor& ids_R, const Tensor& logprobs_R, const Tensor& stop_ids_S,
                               std::int64_t most_tokens, Stream& stream) {
  require_advance_rows("advance_rows", rows, tokens_NR, logprobs_NR, step_1, ids_R, logprobs_R, stop_ids_S);
  const Call call("advance_rows", stream,
                  {rows.tokens_R, rows.positions_R, rows.lengths_R, rows.counts_R, tokens_NR, logprobs_NR, step_1,
                   ids_R, logprobs_R, stop_ids_S});
  const AdvancedRows advanced{data<std::int32_t>(rows.tokens_R),
                              data<std::int32_t>(rows.positions_R),
                              data<std::int32_t>(rows.lengths_R),
                              data<std::int32_t>(rows.counts_R),
                              data<std::int32_t>(tokens_NR),
                              data<std::int32_t>(step_1),
                              raw(logprobs_NR),
                              data<std::int32_t>(ids_R),
                              data<std::int32_t>(stop_ids_S),
                              raw(logprobs_R),
                              ids_R.numel(),
                              tokens_NR.dim(0),
                              stop_ids_S.defined() ? stop_ids_S.numel() : 0,
                              most_tokens};
  call.check(launch_advance_rows(advanced, logprobs_R.dtype(), call.ids("advance_rows: step", tokens_NR.dim(0)),
                                 call.stream()));
}

}  // namespace athanor::cuda
