// Choosing the next token. Law: a row's token is a pure function of its logits, (seed, key) and the arguments; never of
// its place in the batch. Truncations run in the order top_k, top_p, min_p on tokens sorted by falling probability
// (lower id first on a tie): each keeps a first part of that order and at least one token. What is kept is drawn from
// in the order of ids. Temperature 0 takes the largest logit and reports its log-probability at temperature 1.
#include <bit>
#include <cmath>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/log_sum_exp.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::load;

constexpr std::int64_t kBlock = 64;  ///< weights summed at a time

/// Scratch of a thread for one row at a time.
template <class Acc>
struct RowScratch {
  std::vector<Acc> tempered;       ///< logits over the temperature
  std::vector<Acc> weights;        ///< probabilities relative to the largest
  std::vector<double> block_sums;  ///< of kBlock weights each

  static RowScratch& of_this_thread(std::int64_t vocabulary) {
    thread_local RowScratch scratch;
    if (scratch.weights.size() < static_cast<std::size_t>(vocabulary)) {
      scratch.tempered.resize(static_cast<std::size_t>(vocabulary));
      scratch.weights.resize(static_cast<std::size_t>(vocabulary));
      scratch.block_sums.resize(static_cast<std::size_t>(vocabulary / kBlock + 1));
    }
    return scratch;
  }
};

template <class T>
std::int32_t largest(const T* logits, std::int64_t vocabulary) {
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < vocabulary; ++i)
    if (load(logits[i]) > load(logits[best])) best = i;
  return static_cast<std::int32_t>(best);
}

/// What the truncations keep: a first part of the falling order, found without sorting. Weights are not negative, so
/// their bits as integers have their order; thresholds are found bit by bit, each with one pass over the weights.
template <class Acc>
class Kept {
 public:
  Kept(const Acc* weights, std::int64_t count) : weights_(weights), count_(count), ties_(count) {}

  void limit_count(std::int64_t top_k) {
    threshold_ = highest_with([&](Bits t) { return count_from(t) >= top_k; });
    ties_ = top_k - count_from(threshold_ + 1);
  }

  void limit_mass(double top_p) {
    const double all = sum_from(threshold_ + 1) + static_cast<double>(ties_) * value(threshold_);
    const double wanted = top_p * all;
    const Bits old = threshold_;
    threshold_ = std::max(old, highest_with([&](Bits t) { return t <= old || sum_from(t) >= wanted; }));
    const std::int64_t most = threshold_ == old ? ties_ : count_from(threshold_) - count_from(threshold_ + 1);
    const double above = sum_from(threshold_ + 1);
    for (ties_ = 0; ties_ < most && above + static_cast<double>(ties_) * value(threshold_) < wanted;) ++ties_;
  }

  /// Keeps weights of at least `least`, which some weight is.
  void limit_ratio(double least) {
    Bits lowest = std::bit_cast<Bits>(static_cast<Acc>(least));
    if (value(lowest) < least) ++lowest;
    if (lowest <= threshold_) return;
    threshold_ = lowest - 1;
    ties_ = 0;
  }

  /// Sets the weights that are not kept to 0; of equal ones at the border the lower ids stay.
  void clear_others(Acc* weights) const {
    std::int64_t left = ties_;
    for (std::int64_t i = 0; i < count_; ++i) {
      const Bits bits = std::bit_cast<Bits>(weights[i]);
      if (bits > threshold_ || (bits == threshold_ && left-- > 0)) continue;
      weights[i] = Acc{0};
    }
  }

 private:
  using Bits = std::conditional_t<std::is_same_v<Acc, double>, std::uint64_t, std::uint32_t>;
  static double value(Bits bits) { return static_cast<double>(std::bit_cast<Acc>(bits)); }

  std::int64_t count_from(Bits t) const {
    const Acc* weights = weights_;  // read through `this` the loop would gather
    std::int32_t count = 0;
#pragma omp simd reduction(+ : count)
    for (std::int64_t i = 0; i < count_; ++i) count += std::bit_cast<Bits>(weights[i]) >= t ? 1 : 0;
    return count;
  }
  double sum_from(Bits t) const {
    const Acc* weights = weights_;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < count_; ++i) {
      // By a mask: a choice between numbers is a branch to the compiler, and the loop would not vectorise.
      const Bits bits = std::bit_cast<Bits>(weights[i]), mask = Bits{0} - static_cast<Bits>(bits >= t);
      sum += value(bits & mask);
    }
    return sum;
  }
  /// The largest bits t of a number from 0 to 1 for which `holds`, which holds for 0 and up to some border.
  template <class Holds>
  static Bits highest_with(const Holds& holds) {
    const Bits one = std::bit_cast<Bits>(Acc{1});
    Bits t = 0;
    for (Bits bit = std::bit_floor(one); bit > 0; bit >>= 1)
      if ((t | bit) <= one && holds(t | bit)) t |= bit;
    return t;
  }

  const Acc* weights_;
  std::int64_t count_;
  Bits threshold_ = 0;  ///< weights above it are kept,
  std::int64_t ties_;   ///< and so many equal to it
};

/// The id at which the running sum of weights passes `uniform` of their total. Sums of blocks are made first, so that
/// most of a large vocabulary is skipped.
template <class Acc>
std::int32_t draw(const Acc* weights, double* block_sums, std::int64_t count, double uniform) {
  double total = 0.0;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = begin; i < std::min(begin + kBlock, count); ++i) sum += static_cast<double>(weights[i]);
    block_sums[begin / kBlock] = sum;
    total += sum;
  }
  const double wanted = uniform * total;
  double sum = 0.0;
  std::int64_t end = count;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    if (sum + block_sums[begin / kBlock] <= wanted) {
      sum += block_sums[begin / kBlock];
      continue;
    }
    end = std::min(begin + kBlock, count);
    for (std::int64_t i = begin; i < end; ++i) {
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

template <class T>
std::int32_t sample_row(const T* logits, std::int64_t vocabulary, cpu::acc_t<T> highest, double uniform,
                        const SamplingArgs& args) {
  using Acc = cpu::acc_t<T>;
  auto& scratch = RowScratch<Acc>::of_this_thread(vocabulary);
  Acc* weights = scratch.weights.data();
#pragma omp simd
  for (std::int64_t i = 0; i < vocabulary; ++i) {
    // NaN, which has no order, counts as 0; the row's log-probability is NaN then and tells.
    const Acc weight = cpu::exp(load(logits[i]) - highest);
    weights[i] = weight > Acc{0} ? weight : Acc{0};
  }
  const bool some_k = args.top_k > 0 && args.top_k < vocabulary, some_p = args.top_p < 1.0;
  if (some_k || some_p || args.min_p > 0.0) {
    Kept<Acc> kept(weights, vocabulary);
    if (some_k) kept.limit_count(args.top_k);
    if (some_p) kept.limit_mass(args.top_p);
    if (args.min_p > 0.0) kept.limit_ratio(args.min_p);
    kept.clear_others(weights);
  }
  return draw(weights, scratch.block_sums.data(), vocabulary, uniform);
}

}  // namespace

void CpuBackend::sample(Tensor ids_R, Tensor logprobs_R, const Tensor& logits_RV, const Tensor& keys_R,
                        std::uint64_t seed, const SamplingArgs& args, Stream& stream) {
  const std::int64_t rows = logits_RV.shape().flat_rows(), vocabulary = logits_RV.shape().back();
  require(ids_R.numel() == rows && ids_R.dtype() == DType::i32, "sample", "one i32 id a row", ids_R, logits_RV);
  require(logprobs_R.numel() == rows && logprobs_R.dtype() == accumulation_dtype(logits_RV.dtype()), "sample",
          "one log-probability a row, of the accumulation type", logprobs_R, logits_RV);
  require(keys_R.numel() == rows && keys_R.dtype() == DType::i64, "sample", "one i64 key a row", keys_R, logits_RV);
  require(vocabulary > 0 && args.temperature >= 0.0 && args.top_p > 0.0 && args.min_p <= 1.0, "sample",
          "a temperature of at least 0, top_p above 0, min_p of at most 1 and a vocabulary", logits_RV);
  cpu::dispatch_floating(logits_RV.dtype(), "sample", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const bool greedy = args.temperature == 0.0;
      const Acc factor = greedy ? Acc{1} : static_cast<Acc>(1.0 / args.temperature);
      cpu::parallel_rows(rows, 1, vocabulary * 64, [&](std::int64_t r, std::int64_t) {
        const T* row = data<T>(logits_RV) + r * vocabulary;
        const auto choose = [&](const auto* logits) {
          const auto lse = cpu::log_sum_exp(logits, vocabulary);
          const auto key = static_cast<std::uint64_t>(data<std::int64_t>(keys_R)[r]);
          const double uniform = Philox(seed, RandomPurpose::sampling, key).uniform(0);
          const std::int32_t id =
              greedy ? largest(logits, vocabulary) : sample_row(logits, vocabulary, lse.highest, uniform, args);
          data<std::int32_t>(ids_R)[r] = id;
          data<Acc>(logprobs_R)[r] = load(logits[id]) - lse.value;
        };
        if (factor == Acc{1}) return choose(row);
        // Rounded before anything is taken from them, as training's tempered logits are.
        Acc* tempered = RowScratch<Acc>::of_this_thread(vocabulary).tempered.data();
#pragma omp simd
        for (std::int64_t i = 0; i < vocabulary; ++i) tempered[i] = load(row[i]) * factor;
        choose(tempered);
      });
    });
  });
}

}  // namespace athanor
