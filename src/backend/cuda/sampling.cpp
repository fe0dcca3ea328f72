// Choosing the next token. Law: a row's token is a pure function of its logits, (seed, key) and the arguments.
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/sampling_kernels.cuh"

namespace athanor::cuda {

void CudaBackend::sample(Tensor ids_R, Tensor logprobs_R, const Tensor& logits_RV, const Tensor& keys_R,
                         std::uint64_t seed, const SamplingArgs& args, Stream& stream) {
  const std::int64_t rows = logits_RV.shape().flat_rows(), vocabulary = logits_RV.shape().back();
  require_floating("sample", logits_RV);
  require(is_ids(ids_R, rows), "sample", "one i32 id a row", ids_R, logits_RV);
  require(logprobs_R.numel() == rows && logprobs_R.dtype() == accumulation_dtype(logits_RV.dtype()), "sample",
          "one log-probability a row, of the accumulation type", logprobs_R, logits_RV);
  require(keys_R.numel() == rows && keys_R.dtype() == DType::i64, "sample", "one i64 key a row", keys_R, logits_RV);
  require(vocabulary > 0 && args.temperature >= 0.0 && args.top_p > 0.0 && args.min_p <= 1.0, "sample",
          "a temperature of at least 0, top_p above 0, min_p of at most 1 and a vocabulary", logits_RV);
  const SampledRows sampled{.dtype = logits_RV.dtype(),
                            .rows = rows,
                            .vocabulary = vocabulary,
                            .seed = seed,
                            .purpose = static_cast<std::uint32_t>(RandomPurpose::sampling),
                            .temperature = args.temperature,
                            .top_p = args.top_p,
                            .min_p = args.min_p,
                            .top_k = args.top_k};
  const Call call("sample", stream, {ids_R, logprobs_R, logits_RV, keys_R});
  auto* scratch = call.scratch<std::byte>(arena(), sampling_scratch_bytes(sampled));
  call.check(launch_sample(data<std::int32_t>(ids_R), raw(logprobs_R), scratch, raw(logits_RV),
                           data<std::int64_t>(keys_R), sampled, call.stream()));
}

}  // namespace athanor::cuda
