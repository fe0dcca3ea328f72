#include "parallel/rollout/experience.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "src/base/error.hpp"

namespace athanor {
namespace {

std::int64_t tokens_of(const Experience& experience) {
  // The last token is a target only.
  return static_cast<std::int64_t>(experience.prompt.size() + experience.completion.size()) - 1;
}

}  // namespace

BatchTotals count(const std::vector<const Experience*>& batch) {
  BatchTotals totals;
  for (const Experience* experience : batch) {
    if (experience->masked) continue;
    ++totals.samples;
    totals.tokens += static_cast<std::int64_t>(experience->completion.size());
  }
  return totals;
}

ExperienceBatcher::ExperienceBatcher(Backend& ops, const Options& options) : ops_(ops), options_(options) {
  if (options.rows_per_batch * options.row_tokens % options.tp_size != 0)
    throw ConfigError(fmt::format("{} rows of {} tokens cannot be cut over parallel.tp = {}", options.rows_per_batch,
                                  options.row_tokens, options.tp_size));
}

void ExperienceBatcher::pack(const std::vector<const Experience*>& batch) {
  std::vector<std::size_t> order(batch.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return tokens_of(*batch[a]) > tokens_of(*batch[b]); });
  rows_.clear();
  places_.resize(batch.size());
  std::vector<std::int64_t> used;
  for (const std::size_t index : order) {
    const std::int64_t length = tokens_of(*batch[index]);
    if (length > options_.row_tokens)
      throw ConfigError(fmt::format("a prompt with its completion has {} tokens, a row {}; raise rl.row_tokens", length,
                                    options_.row_tokens));
    std::size_t row = 0;
    while (row < rows_.size() && used[row] + length > options_.row_tokens) ++row;
    if (row == rows_.size()) {
      rows_.emplace_back();
      used.push_back(0);
    }
    rows_[row].push_back(index);
    const auto per_batch = static_cast<std::size_t>(options_.rows_per_batch);
    const std::int64_t first = static_cast<std::int64_t>(row % per_batch) * options_.row_tokens + used[row] +
                               static_cast<std::int64_t>(batch[index]->prompt.size()) - 1;
    places_[index] = {row / per_batch, static_cast<std::size_t>(first)};
    used[row] += length;
  }
}

std::int64_t ExperienceBatcher::micro_batches(const std::vector<const Experience*>& batch) {
  pack(batch);
  return (static_cast<std::int64_t>(rows_.size()) + options_.rows_per_batch - 1) / options_.rows_per_batch;
}

std::vector<MicroBatch> ExperienceBatcher::build(const std::vector<const Experience*>& batch, const BatchTotals& totals,
                                                 std::int64_t num_micro_batches, Stream& stream) {
  std::vector<MicroBatch> list = build_scoring(batch, num_micro_batches, stream);
  const auto tokens = static_cast<std::size_t>(options_.rows_per_batch * options_.row_tokens);
  const Shape shape{static_cast<std::int64_t>(tokens)};
  std::vector<double> weights(tokens), old(tokens), advantages(tokens), reference(tokens);
  std::vector<std::int32_t> ids(tokens);
  const bool has_reference =
      std::any_of(batch.begin(), batch.end(), [](const auto* e) { return !e->ref_logprobs.empty(); });
  const auto put = [&](const std::vector<double>& values) {
    if (options_.acc == DType::f64) return upload_vector<double>(ops_, values, shape, stream);
    const std::vector<float> narrow(values.begin(), values.end());
    return upload_vector<float>(ops_, narrow, shape, stream);
  };
  for (std::size_t m = 0; m < list.size(); ++m) {
    for (auto* values : {&weights, &old, &advantages, &reference}) std::fill(values->begin(), values->end(), 0.0);
    std::fill(ids.begin(), ids.end(), -1);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Experience& experience = *batch[i];
      if (places_[i].micro_batch != m || experience.masked) continue;
      const auto length = static_cast<double>(experience.completion.size());
      const auto samples = static_cast<double>(std::max<std::int64_t>(1, totals.samples));
      double weight = 1.0 / static_cast<double>(std::max<std::int64_t>(1, totals.tokens));
      if (options_.weights == PolicyWeights::by_sample) weight = 1.0 / (samples * length);
      if (options_.weights == PolicyWeights::by_length)
        weight = 1.0 / (samples * static_cast<double>(options_.max_new_tokens));
      for (std::size_t k = 0; k < experience.completion.size(); ++k) {
        const std::size_t at = places_[i].first + k;
        weights[at] = weight;
        old[at] = experience.logprobs[k];
        advantages[at] = experience.advantage;
        ids[at] = static_cast<std::int32_t>(i);
        if (has_reference) reference[at] = experience.ref_logprobs[k];
      }
    }
    MicroBatch& micro_batch = list[m];
    micro_batch.loss_weights_T = put(weights);
    MicroBatch::PolicyRows policy;
    policy.old_logprobs_T = put(old);
    policy.advantages_T = put(advantages);
    if (has_reference) policy.ref_logprobs_T = put(reference);
    policy.sequence_ids_T = upload_vector<std::int32_t>(ops_, ids, shape, stream);
    policy.args = options_.objective;
    micro_batch.policy = std::move(policy);
  }
  return list;
}

std::vector<MicroBatch> ExperienceBatcher::build_scoring(const std::vector<const Experience*>& batch,
                                                         std::int64_t num_micro_batches, Stream& stream) {
  if (num_micro_batches < micro_batches(batch))
    throw Error(fmt::format("{} micro-batches were asked for, {} sequences need {}", num_micro_batches, batch.size(),
                            micro_batches(batch)));
  const std::int64_t length = options_.row_tokens;
  const auto tokens = static_cast<std::size_t>(options_.rows_per_batch * length);
  const Shape shape{static_cast<std::int64_t>(tokens)};
  std::vector<MicroBatch> list(static_cast<std::size_t>(num_micro_batches));
  std::vector<std::int32_t> ids(tokens), positions(tokens), begins(tokens), targets(tokens);
  std::vector<double> weights(tokens);
  for (std::size_t m = 0; m < list.size(); ++m) {
    std::fill(ids.begin(), ids.end(), 0);
    std::fill(targets.begin(), targets.end(), 0);
    std::fill(positions.begin(), positions.end(), 0);
    std::iota(begins.begin(), begins.end(), 0);  // a place without a token sees itself
    std::fill(weights.begin(), weights.end(), 0.0);
    for (std::int64_t r = 0; r < options_.rows_per_batch; ++r) {
      const std::size_t row = m * static_cast<std::size_t>(options_.rows_per_batch) + static_cast<std::size_t>(r);
      if (row >= rows_.size()) break;
      auto at = static_cast<std::size_t>(r * length);
      for (const std::size_t index : rows_[row]) {
        const Experience& experience = *batch[index];
        const std::size_t begin = at;
        const auto token = [&](std::size_t i) {
          return i < experience.prompt.size() ? experience.prompt[i]
                                              : experience.completion[i - experience.prompt.size()];
        };
        for (std::size_t i = 0; i < static_cast<std::size_t>(tokens_of(experience)); ++i, ++at) {
          ids[at] = token(i);
          targets[at] = token(i + 1);
          positions[at] = static_cast<std::int32_t>(i);
          begins[at] = static_cast<std::int32_t>(begin);
          weights[at] = i + 1 >= experience.prompt.size() ? 1.0 : 0.0;
        }
      }
    }
    const auto put = [&](const std::vector<std::int32_t>& values) {
      return upload_vector<std::int32_t>(ops_, values, shape, stream);
    };
    MicroBatch& micro_batch = list[m];
    micro_batch.tokens_T = put(ids);
    micro_batch.targets_T = put(targets);
    micro_batch.positions_T = put(positions);
    micro_batch.key_begin_T = put(begins);
    if (options_.acc == DType::f64) {
      micro_batch.loss_weights_T = upload_vector<double>(ops_, weights, shape, stream);
    } else {
      const std::vector<float> narrow(weights.begin(), weights.end());
      micro_batch.loss_weights_T = upload_vector<float>(ops_, narrow, shape, stream);
    }
    micro_batch.num_sequences = options_.rows_per_batch;
    micro_batch.tokens_per_sequence = length;
    micro_batch.temperature = options_.temperature;
    micro_batch.balance_weight = 0.0;
  }
  return list;
}

}  // namespace athanor
