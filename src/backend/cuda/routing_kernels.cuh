// Kernels of routing.cpp. Acc: f32 or f64, the type of scores, weights, bias and losses.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "src/backend/cuda/id_check.cuh"
#include "src/base/dtype.hpp"

namespace athanor::cuda {

/// RouterArgs of backend.hpp, as kernels need it.
struct Routing {
  std::int64_t tokens, num_experts, top_k, num_groups, num_limited_groups;
  double route_scale;
  bool softmax, normalize, group_score_is_max;
};
cudaError_t launch_router_forward(void* scores, std::int32_t* ids, void* weights, const void* logits, const void* bias,
                                  DType acc, const Routing& routing, cudaStream_t stream);
/// dscores may be null.
cudaError_t launch_router_backward(void* dlogits, const void* dweights, const void* dscores, const void* scores,
                                   const std::int32_t* ids, DType acc, const Routing& routing, const IdCheck& check,
                                   cudaStream_t stream);

struct Balance {
  std::int64_t sequences, tokens_per_sequence, num_experts, top_k;
  double alpha, loss_scale;
};
/// Bytes of scratch memory of the balance loss.
std::int64_t balance_scratch_bytes(const Balance& balance);
cudaError_t launch_sequence_balance_loss(void* loss, void* dscores, void* scratch, const void* scores, DType acc,
                                         const Balance& balance, cudaStream_t stream);

cudaError_t launch_count_experts(std::int64_t* counts, const std::int32_t* ids, std::int64_t count,
                                 std::int64_t num_experts, const IdCheck& check, cudaStream_t stream);
cudaError_t launch_router_bias_update(void* bias, const std::int64_t* counts, double speed, DType acc,
                                      std::int64_t num_experts, cudaStream_t stream);

}  // namespace athanor::cuda
