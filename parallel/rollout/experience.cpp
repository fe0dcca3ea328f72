#include "parallel/rollout/experience.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/span.hpp"

namespace athanor {

BatchTotals count(const std::vector<const Experience*>& batch) {
  BatchTotals totals;
  for (const Experience* experience : batch) {
    if (experience->masked) continue;
    ++totals.samples;
    totals.tokens += static_cast<std::int64_t>(experience->completion.size());
  }
  return totals;
}

ExperienceBatcher::ExperienceBatcher(Backend& ops, const Options& options)
    : options_(options), packer_(ops, options.rows) {}

std::int64_t ExperienceBatcher::micro_batches(const std::vector<const Experience*>& batch) {
  sequences_.clear();
  places_.clear();
  lengths_.clear();
  for (const Experience* experience : batch) sequences_.push_back({experience->prompt, experience->completion});
  packer_.pack(sequences_);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    places_.push_back(packer_.place_of(i));
    places_.back().first += batch[i]->prompt.size() - 1;
    lengths_.push_back(batch[i]->completion.size());
  }
  return packer_.num_micro_batches();
}

template <class F>
Tensor ExperienceBatcher::per_token(const std::vector<const Experience*>& batch, std::size_t m, const F& number,
                                    Stream& stream) const {
  std::vector<double> values(static_cast<std::size_t>(packer_.tokens_per_batch()), 0.0);
  for (std::size_t i = 0; i < batch.size(); ++i)
    if (places_[i].micro_batch == m)
      for (std::size_t k = 0; k < batch[i]->completion.size(); ++k) values[places_[i].first + k] = number(*batch[i], k);
  return packer_.upload(std::move(values), stream);
}

std::vector<MicroBatch> ExperienceBatcher::build(const std::vector<const Experience*>& batch, const BatchTotals& totals,
                                                 std::int64_t num_micro_batches, Stream& stream) {
  const Span span(SpanKind::data, "micro-batches");
  std::vector<MicroBatch> list = build_scoring(batch, num_micro_batches, stream);
  const bool has_reference =
      std::any_of(batch.begin(), batch.end(), [](const auto* e) { return !e->ref_logprobs.empty(); });
  const auto samples = static_cast<double>(std::max<std::int64_t>(1, totals.samples));
  const auto tokens = static_cast<double>(std::max<std::int64_t>(1, totals.tokens));
  const auto weight = [&](const Experience& e, std::size_t) {
    if (e.masked) return 0.0;
    if (options_.weights == PolicyWeights::by_sample) return 1.0 / (samples * static_cast<double>(e.completion.size()));
    if (options_.weights == PolicyWeights::by_length)
      return 1.0 / (samples * static_cast<double>(options_.max_new_tokens));
    return 1.0 / tokens;
  };
  for (std::size_t m = 0; m < list.size(); ++m) {
    list[m].loss_weights_T = per_token(batch, m, weight, stream);
    MicroBatch::PolicyRows policy;
    policy.old_logprobs_T = per_token(
        batch, m, [](const Experience& e, std::size_t k) { return e.logprobs[k]; }, stream);
    policy.advantages_T = per_token(
        batch, m, [](const Experience& e, std::size_t) { return e.advantage; }, stream);
    if (has_reference)
      policy.ref_logprobs_T = per_token(
          batch, m, [](const Experience& e, std::size_t k) { return e.ref_logprobs[k]; }, stream);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(packer_.tokens_per_batch()), -1);
    for (std::size_t i = 0; i < batch.size(); ++i)
      if (places_[i].micro_batch == m && !batch[i]->masked)
        std::fill_n(ids.begin() + static_cast<std::ptrdiff_t>(places_[i].first), batch[i]->completion.size(),
                    static_cast<std::int32_t>(i));
    policy.sequence_ids_T = packer_.upload_ids(std::move(ids), stream);
    policy.args = options_.objective;
    list[m].policy = std::move(policy);
  }
  return list;
}

std::vector<MicroBatch> ExperienceBatcher::build_values(const std::vector<const Experience*>& batch,
                                                        const BatchTotals& totals, std::int64_t num_micro_batches,
                                                        double clip, Stream& stream) {
  const Span span(SpanKind::data, "micro-batches");
  std::vector<MicroBatch> list = build_scoring(batch, num_micro_batches, stream);
  const double weight = 1.0 / static_cast<double>(std::max<std::int64_t>(1, totals.tokens));
  for (std::size_t m = 0; m < list.size(); ++m) {
    list[m].temperature = 1.0;
    list[m].loss_weights_T = per_token(
        batch, m, [&](const Experience& e, std::size_t) { return e.masked ? 0.0 : weight; }, stream);
    list[m].value =
        MicroBatch::ValueRows{per_token(
                                  batch, m, [](const Experience& e, std::size_t k) { return e.values[k]; }, stream),
                              per_token(
                                  batch, m, [](const Experience& e, std::size_t k) { return e.returns[k]; }, stream),
                              clip};
  }
  return list;
}

std::vector<double> ExperienceBatcher::of_completion(std::size_t index,
                                                     const std::vector<std::vector<double>>& numbers) const {
  const auto first = numbers[places_[index].micro_batch].begin() + static_cast<std::ptrdiff_t>(places_[index].first);
  return {first, first + static_cast<std::ptrdiff_t>(lengths_[index])};
}

std::vector<MicroBatch> ExperienceBatcher::build_scoring(const std::vector<const Experience*>& batch,
                                                         std::int64_t num_micro_batches, Stream& stream) {
  if (const std::int64_t needed = micro_batches(batch); num_micro_batches < needed)
    throw Error(
        fmt::format("{} micro-batches were asked for, {} sequences need {}", num_micro_batches, batch.size(), needed));
  std::vector<MicroBatch> list;
  for (std::size_t m = 0; std::cmp_less(m, num_micro_batches); ++m) {
    list.push_back(packer_.build(m, sequences_, stream));
    list.back().loss_weights_T = per_token(
        batch, m, [](const Experience&, std::size_t) { return 1.0; }, stream);
    list.back().temperature = options_.temperature;
  }
  return list;
}

}  // namespace athanor
