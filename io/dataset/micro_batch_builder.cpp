#include "io/dataset/micro_batch_builder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"

namespace athanor {

MicroBatchBuilder::MicroBatchBuilder(Backend& ops, const BatchLayout& layout)
    : ops_(ops), layout_(layout), cut_(layout.cp_rank, layout.cp_size) {
  if (layout.sequence_length < 1)
    throw ConfigError(fmt::format("data.sequence_length is {}, wanted at least 1", layout.sequence_length));
  cut_.require(layout.sequence_length, "data.sequence_length");
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
  cut_.set(num_sequences_, length);
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
  batch.context = cut_.order(ops_, stream);
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
  const std::size_t count = cut_.keep(std::span(ids_T_));
  return upload_vector<std::int32_t>(ops_, std::span(ids_T_).first(count), {static_cast<std::int64_t>(count)}, stream);
}

Tensor MicroBatchBuilder::upload_weights(Stream& stream) {
  const std::size_t count = cut_.keep(std::span(weights_T_));
  const std::span<const double> weights(weights_T_.data(), count);
  const Shape shape{static_cast<std::int64_t>(count)};
  if (layout_.acc == DType::f64) return upload_vector<double>(ops_, weights, shape, stream);
  weights_f32_T_.assign(weights.begin(), weights.end());
  return upload_vector<float>(ops_, weights_f32_T_, shape, stream);
}

}  // namespace athanor
