// The router: scores, group-limited choice of K experts, weights, their gradient; balance loss, counts, bias update.
// Source: DeepSeek-V3 report section 2.1.2 and eq. 12-20; the choice as in its inference/model.py (excluded groups are
// -inf). Law: a token's result depends on its own logits alone; ties go to the lower id.
#include <cmath>
#include <vector>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/row_ids.hpp"
#include "src/backend/cpu/vector_math.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::parallel_rows;

// Legend: T tokens, E experts, K experts a token, G groups, S sequences.
constexpr std::int64_t kPieceRows = 16;
/// Keeps a division by zero away where every score underflowed; as in the reference implementation.
constexpr double kTiny = 1e-20;

/// Scratch of this thread that grows to its largest request and stays; one a type and slot.
template <class T, int kSlot = 0>
T* scratch(std::int64_t count) {
  thread_local std::vector<T> buffer;
  if (buffer.size() < static_cast<std::size_t>(count)) buffer.resize(static_cast<std::size_t>(count));
  return buffer.data();
}

/// The `count` largest of values seen, with their ids, in falling order; the one seen first wins a tie.
template <class Acc>
class Largest {
 public:
  Largest(Acc* values, std::int32_t* ids, std::int64_t count) : values_(values), ids_(ids), count_(count) {}
  void see(Acc value, std::int32_t id) {
    if (size_ == count_ && !(value > values_[count_ - 1])) return;
    std::int64_t place = size_ < count_ ? size_++ : count_ - 1;
    for (; place > 0 && value > values_[place - 1]; --place) {
      values_[place] = values_[place - 1];
      ids_[place] = ids_[place - 1];
    }
    values_[place] = value;
    ids_[place] = id;
  }
  std::int64_t size() const { return size_; }

 private:
  Acc* values_;
  std::int32_t* ids_;
  std::int64_t count_, size_ = 0;
};

template <class Acc>
void sigmoid_row(Acc* scores, const Acc* logits, std::int64_t n) {
#pragma omp simd
  for (std::int64_t e = 0; e < n; ++e) scores[e] = cpu::sigmoid(logits[e]);
}

template <class Acc>
void softmax_row(Acc* scores, const Acc* logits, std::int64_t n) {
  Acc highest = logits[0];
#pragma omp simd reduction(max : highest)
  for (std::int64_t e = 0; e < n; ++e) highest = std::max(highest, logits[e]);
  Acc sum{};
#pragma omp simd reduction(+ : sum)
  for (std::int64_t e = 0; e < n; ++e) {
    scores[e] = cpu::exp(logits[e] - highest);
    sum += scores[e];
  }
  const Acc inverse = Acc{1} / sum;
#pragma omp simd
  for (std::int64_t e = 0; e < n; ++e) scores[e] *= inverse;
}

/// Memory of one choice, laid out in a thread's scratch.
template <class Acc>
struct ChoiceScratch {
  static constexpr std::int64_t kBest = 2;  // selection scores that make a group's score, at most
  Acc *selection_E, *chosen_K, *group_scores_G, *best_in_group;
  std::int32_t *ids_K, *groups_G, *unused;

  ChoiceScratch(std::int64_t num_experts, std::int64_t top_k, std::int64_t num_groups) {
    selection_E = scratch<Acc>(num_experts + top_k + kBest + num_groups);
    chosen_K = selection_E + num_experts;
    best_in_group = chosen_K + top_k;
    group_scores_G = best_in_group + kBest;
    ids_K = scratch<std::int32_t>(top_k + kBest + num_groups);
    unused = ids_K + top_k;
    groups_G = unused + kBest;
  }
};

/// Writes the ids of the K experts of one token, in falling order of selection score, to memory.ids_K.
template <class Acc>
void choose_experts(ChoiceScratch<Acc>& memory, const RouterArgs& args) {
  const std::int64_t group_size = args.num_experts / args.num_groups;
  Largest<Acc> experts(memory.chosen_K, memory.ids_K, args.top_k);
  const auto see_group = [&](std::int64_t group) {
    for (std::int64_t e = group * group_size; e < (group + 1) * group_size; ++e)
      experts.see(memory.selection_E[e], static_cast<std::int32_t>(e));
  };
  if (args.num_limited_groups == args.num_groups) {
    for (std::int64_t group = 0; group < args.num_groups; ++group) see_group(group);
    return;
  }
  const std::int64_t counted = args.group_score_is_max ? 1 : memory.kBest;
  Largest<Acc> groups(memory.group_scores_G, memory.groups_G, args.num_limited_groups);
  for (std::int64_t group = 0; group < args.num_groups; ++group) {
    Largest<Acc> best(memory.best_in_group, memory.unused, counted);
    for (std::int64_t e = group * group_size; e < (group + 1) * group_size; ++e) best.see(memory.selection_E[e], 0);
    Acc score{};
    for (std::int64_t i = 0; i < best.size(); ++i) score += memory.best_in_group[i];
    groups.see(score, static_cast<std::int32_t>(group));
  }
  // In the order of ids, so that a tie between groups goes to the lower expert.
  std::sort(memory.groups_G, memory.groups_G + args.num_limited_groups);
  for (std::int64_t i = 0; i < args.num_limited_groups; ++i) see_group(memory.groups_G[i]);
}

}  // namespace

void CpuBackend::router_forward(Tensor scores_TE, Tensor expert_ids_TK, Tensor weights_TK, const Tensor& logits_TE,
                                const Tensor& bias_E, const RouterArgs& args, Stream& stream) {
  require_routing("router_forward", scores_TE, expert_ids_TK, weights_TK, args);
  require(logits_TE.numel() == scores_TE.numel() && logits_TE.dtype() == scores_TE.dtype(), "router_forward",
          "scores like the logits", scores_TE, logits_TE);
  require(bias_E.numel() == args.num_experts && bias_E.dtype() == scores_TE.dtype(), "router_forward",
          "a bias for every expert", bias_E, scores_TE);
  cpu::dispatch_acc(scores_TE.dtype(), "router_forward", [&](auto type) {
    using Acc = decltype(type);
    run_on(stream, [=] {
      const std::int64_t num_experts = args.num_experts, top_k = args.top_k;
      parallel_rows(scores_TE.shape().flat_rows(), kPieceRows, num_experts * 64,
                    [&](std::int64_t begin, std::int64_t end) {
                      ChoiceScratch<Acc> memory(num_experts, top_k, args.num_groups);
                      const Acc* bias = data<Acc>(bias_E);
                      for (std::int64_t t = begin; t < end; ++t) {
                        Acc* scores = data<Acc>(scores_TE) + t * num_experts;
                        const Acc* logits = data<Acc>(logits_TE) + t * num_experts;
                        if (args.score_function == ScoreFunction::sigmoid)
                          sigmoid_row(scores, logits, num_experts);
                        else
                          softmax_row(scores, logits, num_experts);
#pragma omp simd
                        for (std::int64_t e = 0; e < num_experts; ++e) memory.selection_E[e] = scores[e] + bias[e];
                        choose_experts(memory, args);

                        Acc sum{};
                        for (std::int64_t k = 0; k < top_k; ++k) sum += scores[memory.ids_K[k]];
                        const Acc factor = args.normalize_weights
                                               ? static_cast<Acc>(args.route_scale) / (sum + static_cast<Acc>(kTiny))
                                               : static_cast<Acc>(args.route_scale);
                        for (std::int64_t k = 0; k < top_k; ++k) {
                          data<std::int32_t>(expert_ids_TK)[t * top_k + k] = memory.ids_K[k];
                          data<Acc>(weights_TK)[t * top_k + k] = scores[memory.ids_K[k]] * factor;
                        }
                      }
                    });
    });
  });
}

void CpuBackend::router_backward(Tensor dlogits_TE, const Tensor& dweights_TK, const Tensor& dscores_TE,
                                 const Tensor& scores_TE, const Tensor& expert_ids_TK, const RouterArgs& args,
                                 Stream& stream) {
  require_routing("router_backward", scores_TE, expert_ids_TK, dweights_TK, args);
  require(dlogits_TE.numel() == scores_TE.numel() && dlogits_TE.dtype() == scores_TE.dtype(), "router_backward",
          "a gradient like the scores", dlogits_TE, scores_TE);
  if (dscores_TE.defined())
    require(dscores_TE.numel() == scores_TE.numel() && dscores_TE.dtype() == scores_TE.dtype(), "router_backward",
            "a gradient like the scores", dscores_TE, scores_TE);
  cpu::dispatch_acc(scores_TE.dtype(), "router_backward", [&](auto type) {
    using Acc = decltype(type);
    run_on(stream, [=] {
      const std::int64_t num_experts = args.num_experts, top_k = args.top_k;
      const std::int64_t tokens = scores_TE.shape().flat_rows();
      const auto route_scale = static_cast<Acc>(args.route_scale);
      cpu::require_ids("router_backward", data<std::int32_t>(expert_ids_TK), tokens * top_k, num_experts);
      parallel_rows(tokens, kPieceRows, num_experts * 32, [&](std::int64_t begin, std::int64_t end) {
        Acc* dscores = scratch<Acc>(num_experts);
        for (std::int64_t t = begin; t < end; ++t) {
          const Acc* scores = data<Acc>(scores_TE) + t * num_experts;
          const Acc* dweights = data<Acc>(dweights_TK) + t * top_k;
          const auto* ids = data<std::int32_t>(expert_ids_TK) + t * top_k;
          Acc* dlogits = data<Acc>(dlogits_TE) + t * num_experts;
          if (dscores_TE.defined())
            std::copy_n(data<Acc>(dscores_TE) + t * num_experts, num_experts, dscores);
          else
            std::fill_n(dscores, num_experts, Acc{});
          // weight_k = c s_k / S with S = sum of the chosen: d/ds_k = c (dw_k - sum_j dw_j s_j / S) / S.
          Acc sum = static_cast<Acc>(kTiny), dot{};
          for (std::int64_t k = 0; k < top_k; ++k) {
            sum += scores[ids[k]];
            dot += dweights[k] * scores[ids[k]];
          }
          for (std::int64_t k = 0; k < top_k; ++k)
            dscores[ids[k]] +=
                args.normalize_weights ? route_scale * (dweights[k] - dot / sum) / sum : route_scale * dweights[k];

          if (args.score_function == ScoreFunction::sigmoid) {
#pragma omp simd
            for (std::int64_t e = 0; e < num_experts; ++e) dlogits[e] = dscores[e] * scores[e] * (Acc{1} - scores[e]);
          } else {
            Acc mean{};
#pragma omp simd reduction(+ : mean)
            for (std::int64_t e = 0; e < num_experts; ++e) mean += dscores[e] * scores[e];
#pragma omp simd
            for (std::int64_t e = 0; e < num_experts; ++e) dlogits[e] = scores[e] * (dscores[e] - mean);
          }
        }
      });
    });
  });
}

void CpuBackend::sequence_balance_loss(Tensor loss_1, Tensor dscores_TE, const Tensor& scores_TE, std::int64_t top_k,
                                       std::int64_t tokens_per_sequence, double alpha, double loss_scale,
                                       Stream& stream) {
  const std::int64_t tokens = scores_TE.shape().flat_rows(), num_experts = scores_TE.shape().back();
  require(
      tokens_per_sequence > 0 && tokens % tokens_per_sequence == 0, "sequence_balance_loss",
      [&] { return "sequences of " + std::to_string(tokens_per_sequence) + " tokens"; }, scores_TE);
  require(dscores_TE.numel() == scores_TE.numel() && dscores_TE.dtype() == scores_TE.dtype(), "sequence_balance_loss",
          "a gradient like the scores", dscores_TE, scores_TE);
  require(loss_1.numel() == 1 && loss_1.dtype() == scores_TE.dtype(), "sequence_balance_loss",
          "one loss of the scores' type", loss_1, scores_TE);
  require(
      top_k > 0 && top_k <= num_experts, "sequence_balance_loss",
      [&] { return "experts for top_k " + std::to_string(top_k); }, scores_TE);
  cpu::dispatch_acc(scores_TE.dtype(), "sequence_balance_loss", [&](auto type) {
    using Acc = decltype(type);
    run_on(stream, [=] {
      const std::int64_t sequences = tokens / tokens_per_sequence;
      const auto length = static_cast<Acc>(tokens_per_sequence);
      const Acc slope = static_cast<Acc>(loss_scale * alpha / static_cast<double>(sequences)) / length;
      double* losses_S = scratch<double, 1>(sequences);
      parallel_rows(sequences, 1, tokens_per_sequence * num_experts * 16, [&](std::int64_t s, std::int64_t) {
        const Acc* scores_rows = data<Acc>(scores_TE) + s * tokens_per_sequence * num_experts;
        Acc* dscores_rows = data<Acc>(dscores_TE) + s * tokens_per_sequence * num_experts;
        Acc* share_E = scratch<Acc, 2>(2 * num_experts + top_k);  // sum over t of s'_it, T * P_i
        Acc* load_E = share_E + num_experts;                      // f_i
        Acc* largest_K = load_E + num_experts;
        auto* ids_K = scratch<std::int32_t, 2>(top_k);
        std::fill_n(share_E, 2 * num_experts, Acc{});
        const auto inverse_sum = [&](const Acc* scores) {
          Acc sum = static_cast<Acc>(kTiny);
#pragma omp simd reduction(+ : sum)
          for (std::int64_t e = 0; e < num_experts; ++e) sum += scores[e];
          return Acc{1} / sum;
        };
        for (std::int64_t t = 0; t < tokens_per_sequence; ++t) {
          const Acc* scores = scores_rows + t * num_experts;
          const Acc inverse = inverse_sum(scores);
#pragma omp simd
          for (std::int64_t e = 0; e < num_experts; ++e) share_E[e] += scores[e] * inverse;
          Largest<Acc> largest(largest_K, ids_K, top_k);
          for (std::int64_t e = 0; e < num_experts; ++e) largest.see(scores[e], static_cast<std::int32_t>(e));
          for (std::int64_t k = 0; k < top_k; ++k) load_E[ids_K[k]] += Acc{1};
        }
        const Acc per_choice = static_cast<Acc>(num_experts) / (static_cast<Acc>(top_k) * length);
        double loss = 0.0;
        for (std::int64_t e = 0; e < num_experts; ++e) {
          load_E[e] *= per_choice;
          loss += static_cast<double>(load_E[e]) * static_cast<double>(share_E[e]);
        }
        losses_S[s] = loss / static_cast<double>(tokens_per_sequence);
        // f is a constant: d(sum_i f_i P_i)/ds_jt = (f_j - sum_i f_i s'_it) / (T sum_i s_it).
        for (std::int64_t t = 0; t < tokens_per_sequence; ++t) {
          const Acc* scores = scores_rows + t * num_experts;
          Acc* dscores = dscores_rows + t * num_experts;
          const Acc inverse = inverse_sum(scores);
          Acc mean{};
#pragma omp simd reduction(+ : mean)
          for (std::int64_t e = 0; e < num_experts; ++e) mean += load_E[e] * scores[e];
          mean *= inverse;
          const Acc factor = slope * inverse;
#pragma omp simd
          for (std::int64_t e = 0; e < num_experts; ++e) dscores[e] = factor * (load_E[e] - mean);
        }
      });
      double sum = 0.0;
      for (std::int64_t s = 0; s < sequences; ++s) sum += losses_S[s];
      if (sequences > 0) *data<Acc>(loss_1) += static_cast<Acc>(alpha * sum / static_cast<double>(sequences));
    });
  });
}

void CpuBackend::count_experts(Tensor counts_E, const Tensor& expert_ids_TK, Stream& stream) {
  require(counts_E.dtype() == DType::i64 && expert_ids_TK.dtype() == DType::i32, "count_experts",
          "i64 counts and i32 ids", counts_E, expert_ids_TK);
  run_on(stream, [=] {
    const auto* ids = data<std::int32_t>(expert_ids_TK);
    auto* counts = data<std::int64_t>(counts_E);
    cpu::require_ids("count_experts", ids, expert_ids_TK.numel(), counts_E.numel());
    for (std::int64_t i = 0; i < expert_ids_TK.numel(); ++i) ++counts[ids[i]];
  });
}

void CpuBackend::router_bias_update(Tensor bias_E, const Tensor& counts_E, double speed, Stream& stream) {
  const std::int64_t num_experts = bias_E.numel();
  require(counts_E.dtype() == DType::i64 && counts_E.numel() == num_experts, "router_bias_update",
          "an i64 count for every bias", counts_E, bias_E);
  cpu::dispatch_acc(bias_E.dtype(), "router_bias_update", [&](auto type) {
    using Acc = decltype(type);
    run_on(stream, [=] {
      Acc* bias = data<Acc>(bias_E);
      const auto* counts = data<std::int64_t>(counts_E);
      std::int64_t total = 0;
      for (std::int64_t e = 0; e < num_experts; ++e) total += counts[e];
      for (std::int64_t e = 0; e < num_experts; ++e) {
        // The sign of mean - count, in integers.
        const std::int64_t lack = total - counts[e] * num_experts;
        bias[e] += static_cast<Acc>(speed) * static_cast<Acc>((lack > 0) - (lack < 0));
      }
    });
  });
}

}  // namespace athanor
