#include "jobs/evaluation.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <numbers>
#include <vector>

namespace athanor {

namespace {

std::int64_t rows_at_once(const JobOptions& options, const ProcessMesh& mesh) {
  const std::int64_t share = std::max<std::int64_t>(1, options.data.batch_sequences / mesh.size(Axis::dp));
  return options.data.micro_batch_sequences > 0 ? std::min(share, options.data.micro_batch_sequences) : share;
}

}  // namespace

Evaluator::Evaluator(Environment& env, MeshModel& model, const EvaluationWindows& windows, const JobOptions& options,
                     std::int32_t eos_id)
    : ops_(*env.ops),
      model_(model),
      windows_(windows),
      mesh_(*env.mesh),
      compute_(*env.compute),
      comm_(*env.comm),
      builder_(*env.ops, {.sequence_length = options.data.sequence_length,
                          .vocab_size = options.model.vocab_size,
                          .isolate_documents = options.data.isolate_documents,
                          .eos_id = eos_id,
                          .acc = accumulation_dtype(options.run.dtype),
                          .cp_rank = env.mesh->coord(Axis::cp),
                          .cp_size = env.mesh->size(Axis::cp)}),
      sequences_(rows_at_once(options, *env.mesh)),
      sum_1_(env.ops->empty({1}, DType::f64)) {}

struct Evaluator::Sums {
  double loss = 0.0;
  std::array<std::int64_t, 2> counts{};  ///< tokens, bytes
};

std::int64_t Evaluator::all_calls() const {
  const std::int64_t ranks = mesh_.size(Axis::dp);
  return ((windows_.num_windows() + ranks - 1) / ranks + sequences_ - 1) / sequences_;
}

Evaluator::Sums Evaluator::score(std::int64_t calls, bool counting_experts, const std::function<void()>& before_batch) {
  const std::int64_t ranks = mesh_.size(Axis::dp), rank = mesh_.coord(Axis::dp), windows = windows_.num_windows();
  const std::int64_t first = windows * rank / ranks, last = windows * (rank + 1) / ranks;
  // Ranks that share experts or a pipeline run together: as many calls on each, of as many rows.
  const bool together = mesh_.size(Axis::ep) > 1 || mesh_.size(Axis::pp) > 1;
  const auto row = static_cast<std::size_t>(windows_.sequence_length() + 1);
  Sums sums;
  std::vector<std::int64_t> targets_of_row;
  MicroBatch batch;
  ops_.fill(sum_1_, 0.0, compute_);
  const std::uint64_t epoch = new_weights_epoch();
  for (std::int64_t call = 0; call < calls; ++call) {
    const std::int64_t begin = first + call * sequences_, left = std::max<std::int64_t>(0, last - begin);
    const std::int64_t rows = together ? sequences_ : std::min(sequences_, left);
    if (before_batch) before_batch();
    if (rows == 0) continue;
    const std::span<std::int32_t> tokens = builder_.rows(rows);
    targets_of_row.clear();
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto into = tokens.subspan(static_cast<std::size_t>(i) * row, row);
      if (i >= left) {  // a row that counts for nothing
        std::fill(into.begin(), into.end(), 0);
        targets_of_row.push_back(0);
        continue;
      }
      const auto window = windows_.read(begin + i, into);
      targets_of_row.push_back(window.num_targets);
      sums.counts[0] += window.num_scored;
      sums.counts[1] += window.text_bytes;
    }
    builder_.build_evaluation(batch, targets_of_row, compute_);
    ExecContext ctx{ops_, compute_, comm_, batch, model_.dtype(), false};
    ctx.counting_experts = counting_experts;
    ctx.weights_epoch = epoch;
    const Tensor losses_T = model_.token_losses(ctx);
    if (losses_T.defined()) ops_.weighted_sum(sum_1_, losses_T, batch.loss_weights_T, compute_);
  }
  ops_.download(std::as_writable_bytes(std::span(&sums.loss, 1)), sum_1_, compute_);
  compute_.synchronize();
  return sums;
}

void Evaluator::count_experts(double share) {
  zero_sums(model_.whole().sums(), ops_, compute_);
  score(std::clamp<std::int64_t>(static_cast<std::int64_t>(share * static_cast<double>(all_calls())), 1, all_calls()),
        true);
}

EvaluationResult Evaluator::run(const std::function<void()>& before_batch) {
  const auto begin_time = std::chrono::steady_clock::now();
  auto [sum, counts] = score(all_calls(), false, before_batch);
  // The ranks along tp have the same losses, those along cp parts of them; windows are read by all of a data rank.
  if (mesh_.coord(Axis::tp) != 0) sum = 0.0;
  if (mesh_.coord(Axis::tp) != 0 || mesh_.coord(Axis::cp) != 0 || mesh_.coord(Axis::pp) != 0) counts = {};
  HostGroup& group = mesh_.host(Axis::world);
  sum = group.sum(sum);
  group.sum(std::span<std::int64_t>(counts));

  EvaluationResult result;
  result.tokens = counts[0];
  result.text_bytes = counts[1];
  result.loss = sum / static_cast<double>(counts[0]);
  result.perplexity = std::exp(result.loss);
  result.bits_per_byte = counts[1] > 0 ? sum / std::numbers::ln2 / static_cast<double>(counts[1]) : 0.0;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_time).count();
  return result;
}

}  // namespace athanor
