// Choosing the next token: a block a row. Law: as src/backend/cpu/sampling.cpp; truncations run in the order top_k,
// top_p, min_p on tokens by falling probability (lower id first on a tie), each keeping a first part of that order.
#include "src/backend/cuda/sampling_kernels.cuh"

#include "src/backend/cuda/device.cuh"
#include "src/backend/cuda/philox.cuh"
#include "src/backend/cuda/row_log_sum_exp.cuh"

namespace athanor::cuda {
namespace {

constexpr std::int64_t kBlock = 64;  ///< weights summed at a time by the draw

__device__ std::uint32_t bits_of(float value) { return __float_as_uint(value); }
__device__ std::uint64_t bits_of(double value) { return static_cast<std::uint64_t>(__double_as_longlong(value)); }
__device__ double value_of(std::uint32_t bits) { return static_cast<double>(__uint_as_float(bits)); }
__device__ double value_of(std::uint64_t bits) { return __longlong_as_double(static_cast<long long>(bits)); }

template <class Acc>
using Bits = std::conditional_t<std::is_same_v<Acc, double>, std::uint64_t, std::uint32_t>;

/// What the truncations keep: a first part of the falling order, found without sorting. Weights are not negative, so
/// their bits as integers have their order; thresholds are found bit by bit, each with one pass over the weights by the
/// block. Every thread holds the same thresholds and reads the weights it wrote itself.
template <class Acc>
class Kept {
 public:
  __device__ Kept(Acc* weights, std::int64_t count) : weights_(weights), count_(count), ties_(count) {}

  __device__ void limit_count(std::int64_t top_k) {
    threshold_ = highest_with([&](Bits<Acc> t) { return count_from(t) >= top_k; });
    ties_ = top_k - count_from(threshold_ + 1);
  }

  __device__ void limit_mass(double top_p) {
    const double all = sum_from(threshold_ + 1) + static_cast<double>(ties_) * value_of(threshold_);
    const double wanted = top_p * all;
    const Bits<Acc> old = threshold_;
    const Bits<Acc> found = highest_with([&](Bits<Acc> t) { return t <= old || sum_from(t) >= wanted; });
    threshold_ = found > old ? found : old;
    const std::int64_t most = threshold_ == old ? ties_ : count_from(threshold_) - count_from(threshold_ + 1);
    const double above = sum_from(threshold_ + 1), each = value_of(threshold_);
    for (ties_ = 0; ties_ < most && above + static_cast<double>(ties_) * each < wanted;) ++ties_;
  }

  /// Keeps weights of at least `least`, which some weight is.
  __device__ void limit_ratio(double least) {
    Bits<Acc> lowest = bits_of(static_cast<Acc>(least));
    if (value_of(lowest) < least) ++lowest;
    if (lowest <= threshold_) return;
    threshold_ = lowest - 1;
    ties_ = 0;
  }

  /// Sets the weights that are not kept to 0; of equal ones at the border the lower ids stay.
  __device__ void clear_others() {
    // The first id such that `ties_` equal weights lie before it, by halves.
    std::int64_t low = 0, high = count_;
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (equal_before(middle) >= ties_)
        high = middle;
      else
        low = middle + 1;
    }
    for (std::int64_t i = threadIdx.x; i < count_; i += blockDim.x) {
      const Bits<Acc> bits = bits_of(weights_[i]);
      if (bits > threshold_ || (bits == threshold_ && i < low)) continue;
      weights_[i] = Acc{0};
    }
  }

 private:
  __device__ std::int64_t count_from(Bits<Acc> t) const {
    int count = 0;
    for (std::int64_t i = threadIdx.x; i < count_; i += blockDim.x) count += bits_of(weights_[i]) >= t ? 1 : 0;
    return team_sum(count);
  }
  __device__ std::int64_t equal_before(std::int64_t end) const {
    int count = 0;
    for (std::int64_t i = threadIdx.x; i < end; i += blockDim.x) count += bits_of(weights_[i]) == threshold_ ? 1 : 0;
    return team_sum(count);
  }
  __device__ double sum_from(Bits<Acc> t) const {
    double sum = 0.0;
    for (std::int64_t i = threadIdx.x; i < count_; i += blockDim.x)
      if (bits_of(weights_[i]) >= t) sum += static_cast<double>(weights_[i]);
    return team_sum(sum);
  }
  /// The largest bits t of a number from 0 to 1 for which `holds`, which holds for 0 and up to some border.
  template <class Holds>
  __device__ static Bits<Acc> highest_with(const Holds& holds) {
    const Bits<Acc> one = bits_of(Acc{1});
    Bits<Acc> t = 0;
    for (Bits<Acc> bit = std::is_same_v<Acc, double> ? static_cast<Bits<Acc>>(1ULL << 61) : Bits<Acc>{1} << 29; bit > 0;
         bit >>= 1)
      if ((t | bit) <= one && holds(t | bit)) t |= bit;
    return t;
  }

  Acc* weights_;
  std::int64_t count_;
  Bits<Acc> threshold_ = 0;  ///< weights above it are kept,
  std::int64_t ties_;        ///< and so many equal to it
};

/// The id at which the running sum of weights passes `uniform` of their total; by the block, told to thread 0.
template <class Acc>
__device__ std::int32_t draw(const Acc* weights, double* block_sums, std::int64_t count, double uniform) {
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  __syncthreads();
  for (std::int64_t b = threadIdx.x; b < blocks; b += blockDim.x) {
    double sum = 0.0;
    for (std::int64_t i = b * kBlock; i < (b + 1) * kBlock && i < count; ++i) sum += static_cast<double>(weights[i]);
    block_sums[b] = sum;
  }
  __syncthreads();
  if (threadIdx.x != 0) return 0;
  double total = 0.0, sum = 0.0;
  for (std::int64_t b = 0; b < blocks; ++b) total += block_sums[b];
  const double wanted = uniform * total;
  std::int64_t end = count;
  for (std::int64_t b = 0; b < blocks; ++b) {
    if (sum + block_sums[b] <= wanted) {
      sum += block_sums[b];
      continue;
    }
    end = (b + 1) * kBlock < count ? (b + 1) * kBlock : count;
    for (std::int64_t i = b * kBlock; i < end; ++i) {
      sum += static_cast<double>(weights[i]);
      if (sum > wanted) return static_cast<std::int32_t>(i);
    }
    break;
  }
  // Rounding let no running sum pass: the last token that can be drawn.
  for (std::int64_t i = end; i-- > 0;)
    if (weights[i] > Acc{0}) return static_cast<std::int32_t>(i);
  return 0;
}

/// The place of the largest of the row, the lowest on a tie; every thread gets it.
template <class T>
__device__ std::int32_t largest(const Packs<const T>& logits, acc_t<T> highest) {
  int first = static_cast<int>(logits.count);
  for (std::int64_t i = threadIdx.x; i < logits.count; i += blockDim.x)
    if (widen(logits.data[i]) == highest) {
      first = static_cast<int>(i);
      break;
    }
  const int lowest = -team_largest(-first);
  return lowest < logits.count ? lowest : 0;
}

template <class T>
__global__ void sample_kernel(std::int32_t* ids, acc_t<T>* logprobs, acc_t<T>* weights_RV, double* block_sums,
                              Rows<const T> logits_RV, const std::int64_t* keys, SampledRows s) {
  using Acc = acc_t<T>;
  const std::int64_t r = blockIdx.x, vocabulary = s.vocabulary;
  const Packs<const T> logits = logits_RV.row(r);
  const bool greedy = s.temperature == 0.0;
  const Acc factor = greedy ? Acc{1} : static_cast<Acc>(1.0 / s.temperature);
  const LogSumExp<Acc> lse = log_sum_exp(logits, factor);
  std::int32_t id = 0;
  if (greedy) {
    id = largest(logits, lse.highest);
  } else {
    Acc* weights = weights_RV + r * vocabulary;
    for (std::int64_t i = threadIdx.x; i < vocabulary; i += blockDim.x) {
      // NaN, which has no order, counts as 0; the row's log-probability is NaN then and tells.
      const Acc weight = exponential(product(widen(logits.data[i]), factor) - lse.highest);
      weights[i] = weight > Acc{0} ? weight : Acc{0};
    }
    const bool some_k = s.top_k > 0 && s.top_k < vocabulary, some_p = s.top_p < 1.0;
    if (some_k || some_p || s.min_p > 0.0) {
      Kept<Acc> kept(weights, vocabulary);
      if (some_k) kept.limit_count(s.top_k);
      if (some_p) kept.limit_mass(s.top_p);
      if (s.min_p > 0.0) kept.limit_ratio(s.min_p);
      kept.clear_others();
    }
    const double uniform = DevicePhilox(s.seed, s.purpose, static_cast<std::uint64_t>(keys[r])).uniform(0);
    id = draw(weights, block_sums + r * ((vocabulary + kBlock - 1) / kBlock), vocabulary, uniform);
  }
  if (threadIdx.x != 0) return;
  ids[r] = id;
  logprobs[r] = product(widen(logits.data[id]), factor) - lse.value;
}

}  // namespace

std::int64_t sampling_scratch_bytes(const SampledRows& s) {
  const std::int64_t blocks = (s.vocabulary + kBlock - 1) / kBlock;
  return s.rows * (blocks * 8 + s.vocabulary * (s.dtype == DType::f64 ? 8 : 4));
}

cudaError_t launch_sample(std::int32_t* ids, void* logprobs, void* scratch, const void* logits,
                          const std::int64_t* keys, const SampledRows& s, cudaStream_t stream) {
  if (s.rows == 0) return cudaSuccess;
  return with_floating(s.dtype, [&](auto type) {
    using T = decltype(type);
    auto* block_sums = static_cast<double*>(scratch);
    auto* weights = reinterpret_cast<acc_t<T>*>(block_sums + s.rows * ((s.vocabulary + kBlock - 1) / kBlock));
    return launch(sample_kernel<T>, logits_shape(s.rows, packs_of(s.vocabulary, kPack<T>)), stream, ids,
                  static_cast<acc_t<T>*>(logprobs), weights, block_sums,
                  rows_at(static_cast<const T*>(logits), s.vocabulary), keys, s);
  });
}

}  // namespace athanor::cuda
