#include "parallel/rollout/answer_batcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::size_t kOpenBatches = 8;  // a group is tried in so many of the last ones: packing stays linear

std::int64_t tokens_of(const AnswerGroup& group) {
  std::int64_t tokens = 0;
  for (const auto& sequence : group.sequences) tokens += std::ssize(sequence);
  return tokens;
}

bool has_pair(const AnswerGroup& group) {
  return std::any_of(group.scores.begin(), group.scores.end(), [&](double s) { return s != group.scores.front(); });
}

}  // namespace

PreferenceTotals count(std::span<const AnswerGroup> groups) {
  PreferenceTotals totals;
  for (const AnswerGroup& group : groups) {
    totals.prompts += has_pair(group) ? 1 : 0;
    totals.answers += std::ssize(group.labels);
  }
  return totals;
}

AnswerBatcher::AnswerBatcher(Backend& ops, const Options& options) : ops_(ops), options_(options) {
  if (options.rows_per_batch * options.row_tokens % options.tp_size != 0)
    throw ConfigError(fmt::format("{} rows of {} tokens cannot be cut over parallel.tp = {}", options.rows_per_batch,
                                  options.row_tokens, options.tp_size));
}

bool AnswerBatcher::place_group(const AnswerGroup& group, std::vector<std::int64_t>& used, std::size_t micro_batch,
                                std::vector<Place>& places) const {
  std::vector<std::size_t> order(group.sequences.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return group.sequences[a].size() > group.sequences[b].size(); });
  std::vector<std::int64_t> filled = used;
  places.resize(group.sequences.size());
  for (const std::size_t index : order) {
    const std::int64_t length = std::ssize(group.sequences[index]);
    const auto row = std::find_if(filled.begin(), filled.end(),
                                  [&](std::int64_t tokens) { return tokens + length <= options_.row_tokens; });
    if (row == filled.end()) return false;
    places[index] = {micro_batch, static_cast<std::size_t>((row - filled.begin()) * options_.row_tokens + *row)};
    *row += length;
  }
  used = std::move(filled);
  return true;
}

void AnswerBatcher::pack(std::span<const AnswerGroup> groups) {
  std::vector<std::size_t> order(groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return tokens_of(groups[a]) > tokens_of(groups[b]); });
  places_.assign(groups.size(), {});
  std::vector<std::vector<std::int64_t>> used;  // tokens of every row of every micro-batch
  for (const std::size_t index : order) {
    const AnswerGroup& group = groups[index];
    for (const auto& sequence : group.sequences)
      if (sequence.empty()) throw Error("AnswerBatcher: wanted sequences of at least one token, found an empty one");
    std::size_t at = used.size() > kOpenBatches ? used.size() - kOpenBatches : 0;
    while (at < used.size() && !place_group(group, used[at], at, places_[index])) ++at;
    if (at < used.size()) continue;
    used.emplace_back(static_cast<std::size_t>(options_.rows_per_batch), 0);
    if (!place_group(group, used[at], at, places_[index]))
      throw ConfigError(fmt::format(
          "a prompt with its {} answers has {} tokens, which do not fit into one micro-batch of {} rows of {}; raise "
          "reward_model.rows_per_batch or reward_model.row_tokens",
          group.sequences.size(), tokens_of(group), options_.rows_per_batch, options_.row_tokens));
  }
  num_batches_ = used.size();
}

std::int64_t AnswerBatcher::micro_batches(std::span<const AnswerGroup> groups) {
  pack(groups);
  return static_cast<std::int64_t>(num_batches_);
}

Tensor AnswerBatcher::upload(const std::vector<double>& values, Stream& stream) {
  const Shape shape{std::ssize(values)};
  if (options_.acc == DType::f64) return upload_vector<double>(ops_, values, shape, stream);
  const std::vector<float> narrow(values.begin(), values.end());
  return upload_vector<float>(ops_, narrow, shape, stream);
}

MicroBatch AnswerBatcher::rows_of(std::span<const AnswerGroup> groups, std::size_t micro_batch, Stream& stream) {
  const auto tokens = static_cast<std::size_t>(options_.rows_per_batch * options_.row_tokens);
  std::vector<std::int32_t> ids(tokens, 0), positions(tokens, 0), begins(tokens);
  std::iota(begins.begin(), begins.end(), 0);  // a place without a token sees itself
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t a = 0; a < places_[g].size(); ++a) {
      const Place place = places_[g][a];
      if (place.micro_batch != micro_batch) continue;
      const auto& sequence = groups[g].sequences[a];
      for (std::size_t i = 0; i < sequence.size(); ++i) {
        ids[place.first + i] = sequence[i];
        positions[place.first + i] = static_cast<std::int32_t>(i);
        begins[place.first + i] = static_cast<std::int32_t>(place.first);
      }
    }
  const auto put = [&](const std::vector<std::int32_t>& values) {
    return upload_vector<std::int32_t>(ops_, values, {std::ssize(values)}, stream);
  };
  MicroBatch batch;
  batch.tokens_T = put(ids);
  batch.positions_T = put(positions);
  batch.key_begin_T = put(begins);
  batch.num_sequences = options_.rows_per_batch;
  batch.tokens_per_sequence = options_.row_tokens;
  batch.balance_weight = 0.0;
  return batch;
}

MicroBatch::PreferenceRows AnswerBatcher::preferences_of(std::span<const AnswerGroup> groups,
                                                         const PreferenceTotals& totals, std::size_t micro_batch,
                                                         Stream& stream) {
  std::vector<std::int32_t> places, pairs;
  std::vector<double> margins, weights, labels, label_weights;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AnswerGroup& group = groups[g];
    if (places_[g].empty() || places_[g].front().micro_batch != micro_batch) continue;
    const auto first = static_cast<std::int32_t>(places.size());
    for (std::size_t a = 0; a < group.sequences.size(); ++a) {
      places.push_back(static_cast<std::int32_t>(places_[g][a].first + group.sequences[a].size() - 1));
      if (a >= group.labels.size()) continue;
      labels.push_back(group.labels[a]);
      label_weights.push_back(1.0 / static_cast<double>(std::max<std::int64_t>(1, totals.answers)));
    }
    const auto answers = static_cast<double>(group.scores.size()), prompts = static_cast<double>(totals.prompts);
    for (std::size_t a = 0; a < group.scores.size(); ++a)
      for (std::size_t b = a + 1; b < group.scores.size(); ++b) {
        if (group.scores[a] == group.scores[b]) continue;
        const bool ordered = group.scores[a] > group.scores[b];
        pairs.push_back(first + static_cast<std::int32_t>(ordered ? a : b));
        pairs.push_back(first + static_cast<std::int32_t>(ordered ? b : a));
        margins.push_back(options_.margin * std::abs(group.scores[a] - group.scores[b]));
        weights.push_back(2.0 / (answers * (answers - 1.0) * prompts));
      }
  }
  MicroBatch::PreferenceRows rows;
  rows.centering = options_.centering;
  const auto put_ids = [&](const std::vector<std::int32_t>& values, const Shape& shape) {
    return upload_vector<std::int32_t>(ops_, values, shape, stream);
  };
  if (!labels.empty() && labels.size() != places.size())
    throw Error("AnswerBatcher: wanted a label for every answer of a micro-batch, or for none");
  if (pairs.empty() && labels.empty()) return rows;
  rows.places_N = put_ids(places, {std::ssize(places)});
  if (!labels.empty()) {
    rows.labels_N = upload(labels, stream);
    rows.label_weights_N = upload(label_weights, stream);
    return rows;
  }
  rows.pairs_P2 = put_ids(pairs, {std::ssize(weights), 2});
  if (options_.margin != 0.0) rows.pair_margins_P = upload(margins, stream);
  rows.pair_weights_P = upload(weights, stream);
  return rows;
}

std::vector<MicroBatch> AnswerBatcher::build_scoring(std::span<const AnswerGroup> groups,
                                                     std::int64_t num_micro_batches, Stream& stream) {
  if (const std::int64_t needed = micro_batches(groups); num_micro_batches < needed)
    throw Error(
        fmt::format("{} micro-batches were asked for, {} prompts need {}", num_micro_batches, groups.size(), needed));
  std::vector<MicroBatch> list;
  for (std::int64_t m = 0; m < num_micro_batches; ++m)
    list.push_back(rows_of(groups, static_cast<std::size_t>(m), stream));
  return list;
}

std::vector<MicroBatch> AnswerBatcher::build(std::span<const AnswerGroup> groups, const PreferenceTotals& totals,
                                             std::int64_t num_micro_batches, Stream& stream) {
  std::vector<MicroBatch> list = build_scoring(groups, num_micro_batches, stream);
  for (std::size_t m = 0; m < list.size(); ++m) list[m].preference = preferences_of(groups, totals, m, stream);
  return list;
}

}  // namespace athanor
