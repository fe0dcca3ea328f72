// Choosing the next token. Law: a row's token is a pure function of its logits, (seed, key) and the arguments; never of
// its place in the batch. Truncations run in the order top_k, top_p, min_p on tokens sorted by falling probability
// (lower id first on a tie): each keeps a first part of that order and at least one token. What is kept is drawn from
// in the order of ids. Temperature 0 takes the largest logit and reports its log-probability at temperature 1.
#include <cmath>
#include <numeric>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/log_sum_exp.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::load;
using cpu::require;

/// Scratch of a thread for one row at a time: probabilities relative to the largest, and ids.
template <class Acc>
struct RowScratch {
  std::vector<Acc> weights;
  std::vector<double> block_sums;
  std::vector<std::int32_t> ids;

  static RowScratch& of_this_thread(std::int64_t vocabulary) {
    thread_local RowScratch scratch;
    if (scratch.ids.size() < static_cast<std::size_t>(vocabulary)) {
      scratch.weights.resize(static_cast<std::size_t>(vocabulary));
      scratch.block_sums.resize(static_cast<std::size_t>(vocabulary));
      scratch.ids.resize(static_cast<std::size_t>(vocabulary));
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

/// Ids in falling order of weight, sorted only as far as is asked for.
template <class Acc>
class FallingOrder {
 public:
  FallingOrder(const Acc* weights, std::int32_t* ids, std::int64_t count)
      : weights_(weights), ids_(ids), count_(count) {
    std::iota(ids, ids + count, 0);
  }
  void sort_first(std::int64_t wanted) {
    while (sorted_ < wanted) {
      const std::int64_t next = std::min(count_, std::max(wanted, std::max<std::int64_t>(64, 4 * sorted_)));
      const auto before = [weights = weights_](std::int32_t a, std::int32_t b) {
        return weights[a] != weights[b] ? weights[a] > weights[b] : a < b;
      };
      if (next < count_) std::nth_element(ids_ + sorted_, ids_ + next, ids_ + count_, before);
      std::sort(ids_ + sorted_, ids_ + next, before);
      sorted_ = next;
    }
  }
  Acc weight(std::int64_t place) {
    sort_first(place + 1);
    return weights_[ids_[place]];
  }

 private:
  const Acc* weights_;
  std::int32_t* ids_;
  std::int64_t count_, sorted_ = 0;
};

/// How many of the falling order stay.
template <class Acc>
std::int64_t kept_tokens(FallingOrder<Acc>& order, const Acc* weights, std::int64_t vocabulary,
                         const SamplingArgs& args) {
  std::int64_t kept = vocabulary;
  double total = 0.0;
  if (args.top_k > 0 && args.top_k < vocabulary) {
    kept = args.top_k;
    for (std::int64_t i = 0; i < kept; ++i) total += static_cast<double>(order.weight(i));
  } else {
    for (std::int64_t i = 0; i < vocabulary; ++i) total += static_cast<double>(weights[i]);
  }
  if (args.top_p < 1.0) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < kept; ++i) {
      sum += static_cast<double>(order.weight(i));
      if (sum >= args.top_p * total) kept = i + 1;
    }
  }
  if (args.min_p > 0.0) {
    const double least = args.min_p * static_cast<double>(order.weight(0));
    for (std::int64_t i = 1; i < kept; ++i)
      if (static_cast<double>(order.weight(i)) < least) kept = i;
  }
  return kept;
}

/// The id at which the running sum of weights, in order of ids, passes `uniform` of their total. `id_at(i)` is the i-th
/// of `count` ids. Sums of 64 are made first, so that a large vocabulary is mostly skipped.
template <class Acc, class IdAt>
std::int32_t draw(const Acc* weights, double* block_sums, std::int64_t count, const IdAt& id_at, double uniform) {
  constexpr std::int64_t kBlock = 64;
  double total = 0.0;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = begin; i < std::min(begin + kBlock, count); ++i)
      sum += static_cast<double>(weights[id_at(i)]);
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
      sum += static_cast<double>(weights[id_at(i)]);
      if (sum > wanted) return id_at(i);
    }
    break;
  }
  // Rounding let no running sum pass: the last token that can be drawn.
  for (std::int64_t i = end; i-- > 0;)
    if (weights[id_at(i)] > Acc{0}) return id_at(i);
  return id_at(0);
}

template <class T>
std::int32_t sample_row(const T* logits, std::int64_t vocabulary, cpu::acc_t<T> factor, cpu::acc_t<T> highest,
                        double uniform, const SamplingArgs& args) {
  using Acc = cpu::acc_t<T>;
  auto& scratch = RowScratch<Acc>::of_this_thread(vocabulary);
  Acc* weights = scratch.weights.data();
  double* sums = scratch.block_sums.data();
#pragma omp simd
  for (std::int64_t i = 0; i < vocabulary; ++i) {
    // NaN, which has no order, counts as 0; the row's log-probability is NaN then and tells.
    const Acc weight = cpu::exp(load(logits[i]) * factor - highest);
    weights[i] = weight >= Acc{0} ? weight : Acc{0};
  }
  const bool all = (args.top_k <= 0 || args.top_k >= vocabulary) && args.top_p >= 1.0 && args.min_p <= 0.0;
  if (all)
    return draw(
        weights, sums, vocabulary, [](std::int64_t i) { return static_cast<std::int32_t>(i); }, uniform);
  std::int32_t* ids = scratch.ids.data();
  FallingOrder<Acc> order(weights, ids, vocabulary);
  const std::int64_t kept = kept_tokens(order, weights, vocabulary, args);
  order.sort_first(kept);
  std::sort(ids, ids + kept);
  return draw(
      weights, sums, kept, [ids](std::int64_t i) { return ids[i]; }, uniform);
}

}  // namespace

void CpuBackend::sample(Tensor ids_R, Tensor logprobs_R, const Tensor& logits_RV, const Tensor& keys_R,
                        std::uint64_t seed, const SamplingArgs& args, Stream& stream) {
  const std::int64_t rows = logits_RV.shape().flat_rows(), vocabulary = logits_RV.shape().back();
  require(ids_R.numel() == rows && ids_R.dtype() == DType::i32, "sample", "one i32 id a row", ids_R, logits_RV);
  require(logprobs_R.numel() == rows && logprobs_R.dtype() == accumulation_dtype(logits_RV.dtype()), "sample",
          "one log-probability a row, of the accumulation type", logprobs_R, logits_RV);
  require(keys_R.numel() == rows && keys_R.dtype() == DType::i64, "sample", "one i64 key a row", keys_R, logits_RV);
  require(vocabulary > 0 && args.temperature >= 0.0 && args.top_p > 0.0, "sample",
          "a temperature of at least 0, top_p above 0 and a vocabulary", logits_RV);
  cpu::dispatch_floating(logits_RV.dtype(), "sample", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const bool greedy = args.temperature == 0.0;
      const Acc factor = greedy ? Acc{1} : static_cast<Acc>(1.0 / args.temperature);
      cpu::parallel_rows(rows, 1, vocabulary * 64, [&](std::int64_t r, std::int64_t) {
        const T* logits = data<T>(logits_RV) + r * vocabulary;
        const auto lse = cpu::log_sum_exp(logits, vocabulary, factor);
        const auto key = static_cast<std::uint64_t>(data<std::int64_t>(keys_R)[r]);
        const double uniform = Philox(seed, RandomPurpose::sampling, key).uniform(0);
        const std::int32_t id =
            greedy ? largest(logits, vocabulary) : sample_row(logits, vocabulary, factor, lse.highest, uniform, args);
        data<std::int32_t>(ids_R)[r] = id;
        data<Acc>(logprobs_R)[r] = load(logits[id]) * factor - lse.value;
      });
    });
  });
}

}  // namespace athanor
