// A warp for every token.
#include "src/backend/cuda/routing_kernels.cuh"

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/warp_choice.cuh"

namespace athanor::cuda {
namespace {

constexpr unsigned kWarps = 4;  ///< tokens a block
/// Keeps a division by zero away where every score underflowed; as in DeepSeek's reference implementation.
constexpr double kTiny = 1e-20;

LaunchShape token_shape(std::int64_t tokens, std::size_t bytes_of_token = 0,
                        const std::source_location& where = std::source_location::current()) {
  return {static_cast<unsigned>((tokens + kWarps - 1) / kWarps), {32, kWarps}, kWarps * bytes_of_token, where};
}

/// Shared memory of one token's choice.
template <class Acc>
struct ChoiceMemory {
  Acc *scores_E, *selection_E, *groups_G;
  std::int32_t *closed_E, *closed_G, *ids_K;

  __device__ ChoiceMemory(std::byte* memory, const Routing& r) {
    scores_E = reinterpret_cast<Acc*>(memory);
    selection_E = scores_E + r.num_experts;
    groups_G = selection_E + r.num_experts;
    closed_E = reinterpret_cast<std::int32_t*>(groups_G + r.num_groups);
    closed_G = closed_E + r.num_experts;
    ids_K = closed_G + r.num_groups;
  }
  static std::size_t bytes(const Routing& r) {
    const auto numbers = static_cast<std::size_t>(2 * r.num_experts + r.num_groups);
    const auto ids = static_cast<std::size_t>(r.num_experts + r.num_groups + r.top_k);
    return (numbers * sizeof(Acc) + ids * sizeof(std::int32_t) + 15) / 16 * 16;
  }
};

/// Closes the experts of all but the best groups.
template <class Acc>
__device__ void limit_groups(const ChoiceMemory<Acc>& memory, const Routing& r) {
  const std::int64_t size = r.num_experts / r.num_groups;
  for (std::int64_t g = threadIdx.x; g < r.num_groups; g += 32) {
    Acc first = -static_cast<Acc>(INFINITY), second = first;
    for (std::int64_t e = g * size; e < (g + 1) * size; ++e) {
      const Acc value = memory.selection_E[e];
      if (value > first) {
        second = first;
        first = value;
      } else if (value > second) {
        second = value;
      }
    }
    memory.groups_G[g] = r.group_score_is_max || size == 1 ? first : first + second;
    memory.closed_G[g] = 0;
  }
  __syncwarp();
  for (std::int64_t i = 0; i < r.num_limited_groups; ++i) take_largest(memory.groups_G, memory.closed_G, r.num_groups);
  for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32)
    memory.closed_E[e] = memory.closed_G[e / size] == 0 ? 1 : 0;  // a closed group is a chosen one
  __syncwarp();
}

template <class Acc>
__global__ void router_forward_kernel(Acc* scores_TE, std::int32_t* ids_TK, Acc* weights_TK, const Acc* logits_TE,
                                      const Acc* bias_E, Routing r, std::size_t memory_bytes) {
  const std::int64_t t = team_row();
  if (t >= r.tokens) return;
  const ChoiceMemory<Acc> memory(dynamic_shared<std::byte>() + threadIdx.y * memory_bytes, r);
  const Acc* logits = logits_TE + t * r.num_experts;
  if (r.softmax) {
    Acc highest = -static_cast<Acc>(INFINITY), sum{};
    for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32) highest = larger(highest, logits[e]);
    highest = team_largest(highest);
    for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32) {
      memory.scores_E[e] = exponential(logits[e] - highest);
      sum += memory.scores_E[e];
    }
    const Acc inverse = Acc{1} / team_sum(sum);
    for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32) memory.scores_E[e] *= inverse;
  } else {
    for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32) memory.scores_E[e] = sigmoid(logits[e]);
  }
  for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32) {
    scores_TE[t * r.num_experts + e] = memory.scores_E[e];
    memory.selection_E[e] = memory.scores_E[e] + bias_E[e];
    memory.closed_E[e] = 0;
  }
  __syncwarp();
  if (r.num_limited_groups < r.num_groups) limit_groups(memory, r);
  Acc sum{};
  for (std::int64_t k = 0; k < r.top_k; ++k) {
    const std::int32_t id = take_largest(memory.selection_E, memory.closed_E, r.num_experts);
    sum += memory.scores_E[id];
    if (threadIdx.x == 0) memory.ids_K[k] = id;
  }
  __syncwarp();
  const Acc scale = static_cast<Acc>(r.route_scale);
  const Acc factor = r.normalize ? scale / (sum + static_cast<Acc>(kTiny)) : scale;
  for (std::int64_t k = threadIdx.x; k < r.top_k; k += 32) {
    ids_TK[t * r.top_k + k] = memory.ids_K[k];
    weights_TK[t * r.top_k + k] = memory.scores_E[memory.ids_K[k]] * factor;
  }
}

template <class Acc>
__global__ void router_backward_kernel(Acc* dlogits_TE, const Acc* dweights_TK, const Acc* dscores_TE,
                                       const Acc* scores_TE, const std::int32_t* ids_TK, Routing r, IdCheck check) {
  const std::int64_t t = team_row();
  if (t >= r.tokens) return;
  const Acc* scores = scores_TE + t * r.num_experts;
  const Acc* dweights = dweights_TK + t * r.top_k;
  const std::int32_t* ids = ids_TK + t * r.top_k;
  const Acc scale = static_cast<Acc>(r.route_scale);
  // weight_k = c s_k / S with S = sum of the chosen: d/ds_k = c (dw_k - sum_j dw_j s_j / S) / S.
  Acc sum = static_cast<Acc>(kTiny), dot{};
  for (std::int64_t k = 0; k < r.top_k; ++k) {
    if (!check.contains(ids[k])) {
      if (threadIdx.x == 0) check.tell(ids[k], t * r.top_k + k);
      continue;
    }
    sum += scores[ids[k]];
    dot += dweights[k] * scores[ids[k]];
  }
  const auto dscore = [&](std::int64_t e) {
    Acc d = dscores_TE ? dscores_TE[t * r.num_experts + e] : Acc{0};
    for (std::int64_t k = 0; k < r.top_k; ++k)
      if (ids[k] == e) d += r.normalize ? scale * (dweights[k] - dot / sum) / sum : scale * dweights[k];
    return d;
  };
  Acc* dlogits = dlogits_TE + t * r.num_experts;
  if (!r.softmax) {
    for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32)
      dlogits[e] = dscore(e) * scores[e] * (Acc{1} - scores[e]);
    return;
  }
  Acc mean{};
  for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32) mean += dscore(e) * scores[e];
  mean = team_sum(mean);
  for (std::int64_t e = threadIdx.x; e < r.num_experts; e += 32) dlogits[e] = scores[e] * (dscore(e) - mean);
}

/// Counts in shared memory first: few experts, many ids.
__global__ void count_experts_kernel(std::int64_t* counts, const std::int32_t* ids, std::int64_t count,
                                     std::int64_t num_experts, IdCheck check) {
  auto* of_block = dynamic_shared<unsigned>();
  for (std::int64_t e = threadIdx.x; e < num_experts; e += blockDim.x) of_block[e] = 0;
  __syncthreads();
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    if (check.holds(ids[i], i)) atomicAdd(&of_block[ids[i]], 1U);
  __syncthreads();
  for (std::int64_t e = threadIdx.x; e < num_experts; e += blockDim.x)
    if (of_block[e] > 0)
      atomicAdd(reinterpret_cast<unsigned long long*>(&counts[e]), static_cast<unsigned long long>(of_block[e]));
}

template <class Acc>
__global__ void bias_update_kernel(Acc* bias, const std::int64_t* counts, Acc speed, std::int64_t num_experts) {
  long long total = 0;
  for (std::int64_t e = threadIdx.x; e < num_experts; e += blockDim.x) total += counts[e];
  total = team_sum(total);
  for (std::int64_t e = threadIdx.x; e < num_experts; e += blockDim.x) {
    // The sign of mean - count, in integers.
    const long long lack = total - counts[e] * num_experts;
    bias[e] += speed * static_cast<Acc>((lack > 0 ? 1 : 0) - (lack < 0 ? 1 : 0));
  }
}

}  // namespace

cudaError_t launch_router_forward(void* scores, std::int32_t* ids, void* weights, const void* logits, const void* bias,
                                  DType acc, const Routing& routing, cudaStream_t stream) {
  if (routing.tokens == 0) return cudaSuccess;
  return with_acc(acc, [&](auto type) {
    using Acc = decltype(type);
    const std::size_t bytes = ChoiceMemory<Acc>::bytes(routing);
    return launch(router_forward_kernel<Acc>, token_shape(routing.tokens, bytes), stream, static_cast<Acc*>(scores),
                  ids, static_cast<Acc*>(weights), static_cast<const Acc*>(logits), static_cast<const Acc*>(bias),
                  routing, bytes);
  });
}

cudaError_t launch_router_backward(void* dlogits, const void* dweights, const void* dscores, const void* scores,
                                   const std::int32_t* ids, DType acc, const Routing& routing, const IdCheck& check,
                                   cudaStream_t stream) {
  if (routing.tokens == 0) return cudaSuccess;
  return with_acc(acc, [&](auto type) {
    using Acc = decltype(type);
    return launch(router_backward_kernel<Acc>, token_shape(routing.tokens), stream, static_cast<Acc*>(dlogits),
                  static_cast<const Acc*>(dweights), static_cast<const Acc*>(dscores), static_cast<const Acc*>(scores),
                  ids, routing, check);
  });
}

cudaError_t launch_count_experts(std::int64_t* counts, const std::int32_t* ids, std::int64_t count,
                                 std::int64_t num_experts, const IdCheck& check, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const unsigned blocks = blocks_for(count, kThreads * 8);
  return launch(count_experts_kernel, {blocks, kThreads, static_cast<std::size_t>(num_experts) * sizeof(unsigned)},
                stream, counts, ids, count, num_experts, check);
}

cudaError_t launch_router_bias_update(void* bias, const std::int64_t* counts, double speed, DType acc,
                                      std::int64_t num_experts, cudaStream_t stream) {
  if (num_experts == 0) return cudaSuccess;
  return with_acc(acc, [&](auto type) {
    using Acc = decltype(type);
    return launch(bias_update_kernel<Acc>, {1, kThreads}, stream, static_cast<Acc*>(bias), counts,
                  static_cast<Acc>(speed), num_experts);
  });
}

}  // namespace athanor::cuda
