#include "parallel/packing/sequence_packer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <utility>

#include "src/base/error.hpp"

namespace athanor {

std::int64_t rows_needed(std::vector<std::int64_t> lengths, std::int64_t row_tokens) {
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  std::vector<std::int64_t> used;
  for (const std::int64_t length : lengths) {
    std::size_t row = 0;
    while (row < used.size() && used[row] + length > row_tokens) ++row;
    if (row == used.size()) used.push_back(0);
    used[row] += length;
  }
  return std::ssize(used);
}

SequencePacker::SequencePacker(Backend& ops, const Options& options)
    : ops_(ops), options_(options), cut_(options.cp_rank, options.cp_size) {
  cut_.require(options.row_tokens, "tokens of a row (rl.row_tokens or data.sequence_length)");
  if (tokens_per_batch() % (options.tp_size * options.cp_size) != 0)
    throw ConfigError(fmt::format("{} rows of {} tokens cannot be cut over parallel.tp = {} (and parallel.cp = {})",
                                  options.rows_per_batch, options.row_tokens, options.tp_size, options.cp_size));
  cut_.set(options.rows_per_batch, options.row_tokens);
}

bool SequencePacker::place(std::size_t m, std::span<const std::size_t> members, std::span<const std::int64_t> lengths) {
  Content& content = micro_batches_[m];
  std::vector<std::int64_t> used = content.used_of_row;
  std::vector<std::size_t> firsts;
  for (const std::size_t member : members) {
    std::size_t row = 0;
    while (row < used.size() && used[row] + lengths[member] > options_.row_tokens) ++row;
    if (std::cmp_equal(row, options_.rows_per_batch)) return false;
    if (row == used.size()) used.push_back(0);
    firsts.push_back(row * static_cast<std::size_t>(options_.row_tokens) + static_cast<std::size_t>(used[row]));
    used[row] += lengths[member];
  }
  content.used_of_row = std::move(used);
  for (std::size_t i = 0; i < members.size(); ++i) {
    places_[members[i]] = {m, firsts[i]};
    content.sequences.push_back(members[i]);
  }
  return true;
}

void SequencePacker::pack(std::span<const TokenSequence> sequences, std::span<const std::int64_t> groups) {
  std::vector<std::int64_t> lengths;
  for (const TokenSequence& sequence : sequences) {
    lengths.push_back(std::max<std::int64_t>(0, std::ssize(sequence.head) + std::ssize(sequence.tail) - 1));
    if (lengths.back() > options_.row_tokens)
      throw ConfigError(
          fmt::format("a sequence has {} tokens, a row takes {}; raise rl.row_tokens (rl) or "
                      "data.sequence_length, or shorten it",
                      lengths.back() + 1, options_.row_tokens + 1));
  }
  std::vector<std::size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });
  // What stays together, by its longest member, the longest first.
  std::vector<std::vector<std::size_t>> units;
  std::map<std::int64_t, std::size_t> unit_of_group;
  for (const std::size_t index : order) {
    std::size_t unit = units.size();
    if (!groups.empty()) unit = unit_of_group.try_emplace(groups[index], unit).first->second;
    if (unit == units.size()) units.emplace_back();
    units[unit].push_back(index);
  }
  micro_batches_.clear();
  places_.assign(sequences.size(), {});
  for (const std::vector<std::size_t>& members : units) {
    std::size_t m = 0;
    while (m < micro_batches_.size() && !place(m, members, lengths)) ++m;
    if (m < micro_batches_.size()) continue;
    micro_batches_.emplace_back();
    if (!place(m, members, lengths))
      throw ConfigError(
          fmt::format("{} sequences that belong together do not fit into {} rows of {} tokens; raise "
                      "data.micro_batch_sequences or data.sequence_length",
                      members.size(), options_.rows_per_batch, options_.row_tokens));
  }
}

MicroBatch SequencePacker::build(std::size_t m, std::span<const TokenSequence> sequences, Stream& stream) const {
  const auto tokens = static_cast<std::size_t>(tokens_per_batch());
  std::vector<std::int32_t> ids(tokens, 0), targets(tokens, 0), positions(tokens, 0), begins(tokens);
  std::iota(begins.begin(), begins.end(), 0);  // a place without a token sees itself
  if (m < micro_batches_.size())
    for (const std::size_t index : micro_batches_[m].sequences) {
      const TokenSequence& sequence = sequences[index];
      const std::size_t first = places_[index].first;
      for (std::size_t i = 0; i + 1 < sequence.size(); ++i) {
        ids[first + i] = sequence[i];
        targets[first + i] = sequence[i + 1];
        positions[first + i] = static_cast<std::int32_t>(i);
        begins[first + i] = static_cast<std::int32_t>(first);
      }
    }
  MicroBatch micro_batch;
  micro_batch.tokens_T = upload_ids(std::move(ids), stream);
  micro_batch.targets_T = upload_ids(std::move(targets), stream);
  micro_batch.positions_T = upload_ids(std::move(positions), stream);
  micro_batch.key_begin_T = upload_ids(std::move(begins), stream);
  micro_batch.context = cut_.order(ops_, stream);
  micro_batch.num_sequences = options_.rows_per_batch;
  micro_batch.tokens_per_sequence = options_.row_tokens;
  micro_batch.balance_weight = 0.0;
  return micro_batch;
}

Tensor SequencePacker::upload_ids(std::vector<std::int32_t> ids_K, Stream& stream) const {
  ids_K.resize(cut_.keep(std::span(ids_K)));
  return upload_vector<std::int32_t>(ops_, ids_K, Shape{std::ssize(ids_K)}, stream);
}

Tensor SequencePacker::upload(std::vector<double> values_K, Stream& stream) const {
  values_K.resize(cut_.keep(std::span(values_K)));
  return upload_numbers(ops_, values_K, options_.acc, stream);
}

Tensor of_whole_rows(Backend& ops, Communicator& cp, const MicroBatch& micro_batch, const Tensor& numbers_T,
                     Stream& stream) {
  if (cp.size() == 1) return numbers_T;
  const Shape all{numbers_T.numel() * cp.size(), 1};
  const Tensor gathered = ops.empty(all, numbers_T.dtype()), ordered = ops.empty(all, numbers_T.dtype());
  cp.all_gather(gathered, numbers_T, stream);
  ops.gather_rows(ordered, gathered, micro_batch.context.sequence_order_K, stream);
  return ordered;
}

Tensor upload_numbers(Backend& ops, std::span<const double> values, DType acc, Stream& stream) {
  const Shape shape{std::ssize(values)};
  if (acc == DType::f64) return upload_vector<double>(ops, values, shape, stream);
  return upload_vector<float>(ops, std::vector<float>(values.begin(), values.end()), shape, stream);
}

}  // namespace athanor
