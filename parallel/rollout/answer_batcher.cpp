#include "parallel/rollout/answer_batcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/base/error.hpp"
#include "src/base/span.hpp"

namespace athanor {
namespace {

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

AnswerBatcher::AnswerBatcher(Backend& ops, const Options& options)
    : ops_(ops), options_(options), packer_(ops, options.rows) {}

void AnswerBatcher::pack(std::span<const AnswerGroup> groups) {
  // The packer's last token is a target only; behind an answer's last one stands another, which is never looked at.
  static constexpr std::int32_t kBehind[1] = {0};
  sequences_.clear();
  first_of_group_.clear();
  std::vector<std::int64_t> group_of_sequence;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    first_of_group_.push_back(sequences_.size());
    for (const auto& sequence : groups[g].sequences) {
      if (sequence.empty()) throw Error("AnswerBatcher: wanted sequences of at least one token, found an empty one");
      sequences_.push_back({sequence, kBehind});
      group_of_sequence.push_back(static_cast<std::int64_t>(g));
    }
  }
  try {
    packer_.pack(sequences_, group_of_sequence);
  } catch (const ConfigError& error) {
    throw ConfigError(std::string("the answers to a prompt lie in one micro-batch (reward_model.rows_per_batch, "
                                  "reward_model.row_tokens): ") +
                      error.what());
  }
}

std::int64_t AnswerBatcher::micro_batches(std::span<const AnswerGroup> groups) {
  pack(groups);
  return packer_.num_micro_batches();
}

MicroBatch::PreferenceRows AnswerBatcher::preferences_of(std::span<const AnswerGroup> groups,
                                                         const PreferenceTotals& totals, std::size_t micro_batch,
                                                         Stream& stream) const {
  std::vector<std::int32_t> places, pairs;
  std::vector<double> margins, weights, labels, label_weights;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AnswerGroup& group = groups[g];
    if (group.sequences.empty() || place_of(g, 0).micro_batch != micro_batch) continue;
    const auto first = static_cast<std::int32_t>(places.size());
    for (std::size_t a = 0; a < group.sequences.size(); ++a) {
      places.push_back(static_cast<std::int32_t>(place_of(g, a).first + group.sequences[a].size() - 1));
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
  const auto put_numbers = [&](const std::vector<double>& values) {
    return upload_numbers(ops_, values, options_.rows.acc, stream);
  };
  if (!labels.empty() && labels.size() != places.size())
    throw Error("AnswerBatcher: wanted a label for every answer of a micro-batch, or for none");
  if (pairs.empty() && labels.empty()) return rows;
  rows.places_N = put_ids(places, {std::ssize(places)});
  if (!labels.empty()) {
    rows.labels_N = put_numbers(labels);
    rows.label_weights_N = put_numbers(label_weights);
    return rows;
  }
  rows.pairs_P2 = put_ids(pairs, {std::ssize(weights), 2});
  if (options_.margin != 0.0) rows.pair_margins_P = put_numbers(margins);
  rows.pair_weights_P = put_numbers(weights);
  return rows;
}

std::vector<MicroBatch> AnswerBatcher::build_scoring(std::span<const AnswerGroup> groups,
                                                     std::int64_t num_micro_batches, Stream& stream) {
  if (const std::int64_t needed = micro_batches(groups); num_micro_batches < needed)
    throw Error(
        fmt::format("{} micro-batches were asked for, {} prompts need {}", num_micro_batches, groups.size(), needed));
  std::vector<MicroBatch> list;
  for (std::int64_t m = 0; m < num_micro_batches; ++m)
    list.push_back(packer_.build(static_cast<std::size_t>(m), sequences_, stream));
  return list;
}

std::vector<MicroBatch> AnswerBatcher::build(std::span<const AnswerGroup> groups, const PreferenceTotals& totals,
                                             std::int64_t num_micro_batches, Stream& stream) {
  const Span span(SpanKind::data, "micro-batches");
  std::vector<MicroBatch> list = build_scoring(groups, num_micro_batches, stream);
  for (std::size_t m = 0; m < list.size(); ++m) list[m].preference = preferences_of(groups, totals, m, stream);
  return list;
}

}  // namespace athanor
