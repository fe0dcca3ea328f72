// Sequence-wise balance loss. Source: DeepSeek-V3 report eq. 17-20. Legend: T tokens a sequence, S sequences, E
// experts. Law: sums over tokens run in strides of 32 that are added in order; they depend on a sequence's length
// alone.
#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/routing_kernels.cuh"
#include "src/backend/cuda/warp_choice.cuh"

namespace athanor::cuda {
namespace {

constexpr double kTiny = 1e-20;
constexpr unsigned kSide = 32;

/// Between the kernels, of all sequences.
template <class Acc>
struct BalanceMemory {
  double* parts_SE;  ///< f_i * P_i * T
  Acc* inverse_ST;   ///< 1 / sum of a token's scores
  Acc* load_SE;      ///< f_i
  std::int32_t* ids_STK;

  BalanceMemory(void* scratch, const Balance& b) {
    parts_SE = static_cast<double*>(scratch);
    inverse_ST = reinterpret_cast<Acc*>(parts_SE + b.sequences * b.num_experts);
    load_SE = inverse_ST + b.sequences * b.tokens_per_sequence;
    ids_STK = reinterpret_cast<std::int32_t*>(load_SE + b.sequences * b.num_experts);
  }
};

/// A warp a token: its scores' sum and its top K.
template <class Acc>
__global__ void token_kernel(BalanceMemory<Acc> memory, const Acc* scores_TE, std::int64_t tokens, Balance b) {
  const std::int64_t t = team_row();
  if (t >= tokens) return;
  std::int32_t* closed = dynamic_shared<std::int32_t>() + threadIdx.y * b.num_experts;
  const Acc* scores = scores_TE + t * b.num_experts;
  Acc sum{};
  for (std::int64_t e = threadIdx.x; e < b.num_experts; e += 32) {
    sum += scores[e];
    closed[e] = 0;
  }
  sum = team_sum(sum);
  if (threadIdx.x == 0) memory.inverse_ST[t] = Acc{1} / (sum + static_cast<Acc>(kTiny));
  for (std::int64_t k = 0; k < b.top_k; ++k) {
    const std::int32_t id = take_largest(scores, closed, b.num_experts);
    if (threadIdx.x == 0) memory.ids_STK[t * b.top_k + k] = id;
  }
}

/// A block for 32 experts of a sequence; lane x an expert, row y every 32nd token.
template <class Acc>
__global__ void expert_kernel(BalanceMemory<Acc> memory, const Acc* scores_TE, Balance b) {
  __shared__ Acc shares[kSide][kSide + 1];
  __shared__ std::int32_t loads[kSide][kSide + 1];
  const std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kSide + threadIdx.x, s = blockIdx.y;
  const std::int64_t begin = s * b.tokens_per_sequence, end = begin + b.tokens_per_sequence;
  Acc share{};
  std::int32_t load = 0;
  for (std::int64_t t = begin + threadIdx.y; t < end && e < b.num_experts; t += kSide) {
    share += scores_TE[t * b.num_experts + e] * memory.inverse_ST[t];
    for (std::int64_t k = 0; k < b.top_k; ++k) load += memory.ids_STK[t * b.top_k + k] == e ? 1 : 0;
  }
  shares[threadIdx.y][threadIdx.x] = share;
  loads[threadIdx.y][threadIdx.x] = load;
  __syncthreads();
  if (threadIdx.y != 0 || e >= b.num_experts) return;
  for (unsigned y = 1; y < kSide; ++y) {
    share += shares[y][threadIdx.x];
    load += loads[y][threadIdx.x];
  }
  const Acc per_choice =
      static_cast<Acc>(b.num_experts) / (static_cast<Acc>(b.top_k) * static_cast<Acc>(b.tokens_per_sequence));
  const Acc f = static_cast<Acc>(load) * per_choice;
  memory.load_SE[s * b.num_experts + e] = f;
  memory.parts_SE[s * b.num_experts + e] = static_cast<double>(f) * static_cast<double>(share);
}

/// f is a constant: d(sum_i f_i P_i)/ds_jt = (f_j - sum_i f_i s'_it) / (T sum_i s_it).
template <class Acc>
__global__ void gradient_kernel(Acc* dscores_TE, BalanceMemory<Acc> memory, const Acc* scores_TE, std::int64_t tokens,
                                Acc slope, Balance b) {
  const std::int64_t t = team_row();
  if (t >= tokens) return;
  const Acc* load = memory.load_SE + t / b.tokens_per_sequence * b.num_experts;
  const Acc* scores = scores_TE + t * b.num_experts;
  const Acc inverse = memory.inverse_ST[t];
  Acc mean{};
  for (std::int64_t e = threadIdx.x; e < b.num_experts; e += 32) mean += load[e] * scores[e];
  mean = team_sum(mean) * inverse;
  for (std::int64_t e = threadIdx.x; e < b.num_experts; e += 32)
    dscores_TE[t * b.num_experts + e] = slope * inverse * (load[e] - mean);
}

template <class Acc>
__global__ void loss_kernel(Acc* loss, const double* parts_SE, Balance b) {
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < b.sequences * b.num_experts; i += blockDim.x) sum += parts_SE[i];
  sum = team_sum(sum) / static_cast<double>(b.tokens_per_sequence);
  if (threadIdx.x == 0) *loss += static_cast<Acc>(b.alpha * sum / static_cast<double>(b.sequences));
}

}  // namespace

std::int64_t balance_scratch_bytes(const Balance& b) {
  const std::int64_t pairs = b.sequences * b.num_experts, tokens = b.sequences * b.tokens_per_sequence;
  return 8 * (2 * pairs + tokens) + 4 * tokens * b.top_k;
}

cudaError_t launch_sequence_balance_loss(void* loss, void* dscores, void* scratch, const void* scores, DType acc,
                                         const Balance& b, cudaStream_t stream) {
  const std::int64_t tokens = b.sequences * b.tokens_per_sequence;
  if (tokens == 0) return cudaSuccess;
  return with_acc(acc, [&](auto type) {
    using Acc = decltype(type);
    const BalanceMemory<Acc> memory(scratch, b);
    const auto* scores_TE = static_cast<const Acc*>(scores);
    const auto blocks = static_cast<unsigned>((tokens + 3) / 4);
    const auto slope = static_cast<Acc>(b.loss_scale * b.alpha / static_cast<double>(b.sequences)) /
                       static_cast<Acc>(b.tokens_per_sequence);
    cudaError_t status =
        launch(token_kernel<Acc>, {blocks, {32, 4}, static_cast<std::size_t>(4 * b.num_experts) * sizeof(std::int32_t)},
               stream, memory, scores_TE, tokens, b);
    if (status != cudaSuccess) return status;
    status = launch(expert_kernel<Acc>,
                    {{static_cast<unsigned>((b.num_experts + kSide - 1) / kSide), static_cast<unsigned>(b.sequences)},
                     {kSide, kSide}},
                    stream, memory, scores_TE, b);
    if (status != cudaSuccess) return status;
    status = launch(gradient_kernel<Acc>, {blocks, {32, 4}}, stream, static_cast<Acc*>(dscores), memory, scores_TE,
                    tokens, slope, b);
    if (status != cudaSuccess) return status;
    return launch(loss_kernel<Acc>, {1, kThreads}, stream, static_cast<Acc*>(loss), memory.parts_SE, b);
  });
}

}  // namespace athanor::cuda
