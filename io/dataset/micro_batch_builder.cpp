#include "io/dataset/micro_batch_builder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"

namespace athanor {

MicroBatchBuilder::MicroBatchBuilder(Backend& ops, const BatchLayout& layout) : ops_(ops), layout_(layout) {
  if (layout.sequence_length < 1)
    throw ConfigError(fmt::format("data.sequence_length is {}, wanted at least 1", layout.sequence_length));
  if (layout.sequence_length % (2 * layout.cp_size) != 0 && layout.cp_size > 1)
    throw ConfigError(
        fmt::format("data.sequence_length = {} cannot be cut over parallel.cp = {}: every rank takes two equal runs of "
                    "a sequence, so choose a multiple of {}",
                    layout.sequence_length, layout.cp_size, 2 * layout.cp_size));
  if (layout.acc != DType::f32 && layout.acc != DType::f64)
    throw Error(fmt::format("loss weights are f32 or f64, not {}", to_string(layout.acc)));
}

std::span<std::int32_t> MicroBatchBuilder::rows(std::int64_t num_sequences) {
  num_sequences_ = num_sequences;
  rows_BS1_.resize(static_cast<std::size_t>(num_sequences * (layout_.sequence_length + 1)));
  return rows_BS1_;
}

std::int64_t MicroBatchBuilder::count_targets() const {
  const std::int64_t all = num_sequences_ * layout_.sequence_length;
  if (!layout_.isolate_documents) return all;
  const auto length = static_cast<std::size_t>(layout_.sequence_length);
  std::int64_t behind_eos = 0;
  for (std::size_t begin = 0; begin < rows_BS1_.size(); begin += length + 1)
    behind_eos += std::count(rows_BS1_.begin() + static_cast<std::ptrdiff_t>(begin),
                             rows_BS1_.begin() + static_cast<std::ptrdiff_t>(begin + length), layout_.eos_id);
  return all - behind_eos;
}

void MicroBatchBuilder::find_document_ends() {
  document_end_BS1_.resize(rows_BS1_.size());
  const std::int64_t row_tokens = layout_.sequence_length + 1;
  for (std::int64_t row = 0; row < num_sequences_; ++row) {
    std::int64_t end = row_tokens;
    for (std::int64_t i = row_tokens - 1; i >= 0; --i) {
      const auto at = static_cast<std::size_t>(row * row_tokens + i);
      if (layout_.isolate_documents && rows_BS1_[at] == layout_.eos_id) end = i + 1;
      document_end_BS1_[at] = end;
    }
  }
}

void MicroBatchBuilder::choose_tokens() {
  kept_T_.clear();
  if (layout_.cp_size == 1) return;
  const std::int64_t run = layout_.sequence_length / (2 * layout_.cp_size);
  for (std::int64_t row = 0; row < num_sequences_; ++row)
    for (const std::int64_t r :
         {std::int64_t{layout_.cp_rank}, std::int64_t{2 * layout_.cp_size - 1 - layout_.cp_rank}})
      for (std::int64_t i = 0; i < run; ++i) kept_T_.push_back(row * layout_.sequence_length + r * run + i);
}

void MicroBatchBuilder::set_context_order(MicroBatch& batch, Stream& stream) {
  batch.context = {};
  if (layout_.cp_size == 1) return;
  for (std::size_t t = 0; t < ids_T_.size(); ++t) ids_T_[t] = static_cast<std::int32_t>(t + 1);
  batch.context.key_end_T = upload_ids(stream);
  // Token k of the sequences lies, gathered rank by rank, where its run's rank has it.
  const std::int64_t length = layout_.sequence_length, ranks = layout_.cp_size, run = length / (2 * ranks);
  const std::int64_t tokens_of_rank = num_sequences_ * 2 * run;
  std::vector<std::int32_t>& inverse = kept_ids_T_;
  inverse.resize(ids_T_.size());
  for (std::int64_t row = 0; row < num_sequences_; ++row)
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t r = i / run, rank = std::min(r, 2 * ranks - 1 - r), half = r < ranks ? 0 : 1;
      const std::int64_t k = row * length + i;
      const std::int64_t gathered = rank * tokens_of_rank + (row * 2 + half) * run + i % run;
      ids_T_[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(gathered);
      inverse[static_cast<std::size_t>(gathered)] = static_cast<std::int32_t>(k);
    }
  const Shape all{num_sequences_ * length};
  batch.context.sequence_order_K = upload_vector<std::int32_t>(ops_, ids_T_, all, stream);
  batch.context.gathered_order_K = upload_vector<std::int32_t>(ops_, inverse, all, stream);
}

void MicroBatchBuilder::set_tokens(MicroBatch& batch, Stream& stream) {
  const std::int64_t length = layout_.sequence_length;
  for (const std::int32_t id : rows_BS1_)
    if (id < 0 || id >= layout_.vocab_size)
      throw DataError(
          fmt::format("token {} is outside the model's vocabulary of {}; the token file is damaged, or of "
                      "another tokenizer than the model",
                      id, layout_.vocab_size));
  find_document_ends();
  batch.num_sequences = num_sequences_;
  batch.tokens_per_sequence = length;
  const auto tokens = static_cast<std::size_t>(num_sequences_ * length);
  ids_T_.resize(tokens);
  weights_T_.resize(tokens);
  choose_tokens();
  /// Calls fill(token of T, index in rows, place in its row).
  const auto for_each_token = [&](const auto& fill) {
    std::size_t t = 0;
    for (std::int64_t row = 0; row < num_sequences_; ++row)
      for (std::int64_t i = 0; i < length; ++i, ++t) fill(t, static_cast<std::size_t>(row * (length + 1) + i), i);
  };
  for_each_token([&](std::size_t t, std::size_t at, std::int64_t) { ids_T_[t] = rows_BS1_[at]; });
  batch.tokens_T = upload_ids(stream);

  // A document begins at a row's start and where the one before has ended.
  std::int64_t begin = 0;
  const auto document_begin = [&](std::size_t at, std::int64_t i) {
    if (i == 0)
      begin = 0;
    else if (document_end_BS1_[at - 1] == i)
      begin = i;
    return begin;
  };
  for_each_token([&](std::size_t t, std::size_t at, std::int64_t i) {
    ids_T_[t] = static_cast<std::int32_t>(i - document_begin(at, i));
  });
  batch.positions_T = upload_ids(stream);
  for_each_token([&](std::size_t t, std::size_t at, std::int64_t i) {
    ids_T_[t] = static_cast<std::int32_t>(static_cast<std::int64_t>(t) - i + document_begin(at, i));
  });
  batch.key_begin_T = upload_ids(stream);
  set_context_order(batch, stream);
}

void MicroBatchBuilder::build(MicroBatch& batch, const BatchWeights& weights, Stream& stream) {
  set_tokens(batch, stream);
  batch.balance_weight = static_cast<double>(num_sequences_) * weights.per_sequence;
  const std::int64_t length = layout_.sequence_length;
  /// The token `ahead` places further, 0 where the document (or row) has ended by then; and its weight.
  const auto look_ahead = [&](std::int64_t ahead, double weight) {
    std::size_t t = 0;
    for (std::int64_t row = 0; row < num_sequences_; ++row)
      for (std::int64_t i = 0; i < length; ++i, ++t) {
        const auto at = static_cast<std::size_t>(row * (length + 1) + i);
        const bool inside = i + ahead < document_end_BS1_[at];
        ids_T_[t] = inside ? rows_BS1_[at + static_cast<std::size_t>(ahead)] : 0;
        weights_T_[t] = inside ? weight : 0.0;
      }
  };
  look_ahead(1, weights.per_target);
  batch.targets_T = upload_ids(stream);
  batch.loss_weights_T = upload_weights(stream);
  batch.mtp.resize(static_cast<std::size_t>(layout_.mtp_depth));
  const double mtp_weight =
      weights.per_target * weights.mtp / static_cast<double>(std::max<std::int64_t>(1, layout_.mtp_depth));
  for (std::int64_t k = 0; k < layout_.mtp_depth; ++k) {
    MicroBatch::MtpRows& rows = batch.mtp[static_cast<std::size_t>(k)];
    look_ahead(k + 1, 0.0);
    rows.tokens_T = upload_ids(stream);
    look_ahead(k + 2, mtp_weight);
    rows.targets_T = upload_ids(stream);
    rows.loss_weights_T = upload_weights(stream);
  }
}

void MicroBatchBuilder::build_evaluation(MicroBatch& batch, std::span<const std::int64_t> targets_of_row,
                                         Stream& stream) {
  if (static_cast<std::int64_t>(targets_of_row.size()) != num_sequences_)
    throw Error(fmt::format("{} rows, but {} counts of targets", num_sequences_, targets_of_row.size()));
  set_tokens(batch, stream);
  batch.balance_weight = 0.0;
  batch.mtp.clear();
  std::size_t t = 0;
  for (std::size_t row = 0; row < targets_of_row.size(); ++row)
    for (std::int64_t i = 0; i < layout_.sequence_length; ++i, ++t) {
      const bool inside = i + 1 < document_end_BS1_[t + row];
      ids_T_[t] = rows_BS1_[t + row + 1];
      weights_T_[t] = inside && i < targets_of_row[row] ? 1.0 : 0.0;
    }
  batch.targets_T = upload_ids(stream);
  batch.loss_weights_T = upload_weights(stream);
}

Tensor MicroBatchBuilder::upload_ids(Stream& stream) {
  if (layout_.cp_size == 1)
    return upload_vector<std::int32_t>(ops_, ids_T_, {static_cast<std::int64_t>(ids_T_.size())}, stream);
  kept_ids_T_.resize(kept_T_.size());
  for (std::size_t t = 0; t < kept_T_.size(); ++t) kept_ids_T_[t] = ids_T_[static_cast<std::size_t>(kept_T_[t])];
  return upload_vector<std::int32_t>(ops_, kept_ids_T_, {static_cast<std::int64_t>(kept_T_.size())}, stream);
}

Tensor MicroBatchBuilder::upload_weights(Stream& stream) {
  std::size_t count = weights_T_.size();
  if (layout_.cp_size > 1) {
    count = kept_T_.size();  // rising, so that a weight moves to the front only
    for (std::size_t t = 0; t < count; ++t) weights_T_[t] = weights_T_[static_cast<std::size_t>(kept_T_[t])];
  }
  const std::span<const double> weights(weights_T_.data(), count);
  const Shape shape{static_cast<std::int64_t>(count)};
  if (layout_.acc == DType::f64) return upload_vector<double>(ops_, weights, shape, stream);
  weights_f32_T_.assign(weights.begin(), weights.end());
  return upload_vector<float>(ops_, weights_f32_T_, shape, stream);
}

}  // namespace athanor
