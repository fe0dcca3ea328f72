// Micro-batches of made-up tokens for tests: rows of tokens with next-token targets, MTP rows, and, on demand, rows cut
// into two documents that do not see each other.
#pragma once

#include <algorithm>
#include <vector>

#include "src/nn/exec_context.hpp"

namespace athanor::testing {

struct ToyBatchOptions {
  std::int64_t num_sequences = 2, tokens_per_sequence = 6;
  std::int64_t vocab_size = 19;
  std::int64_t mtp_depth = 0;
  double mtp_weight = 0.3;       ///< lambda
  bool split_documents = false;  ///< every row holds two documents
  std::uint64_t seed = 1;
  DType acc = DType::f64;
  double global_tokens = 0.0;  ///< what losses are divided by; 0: the valid tokens of this batch
};

/// Host copy of a toy batch: for references that the library has no part in.
struct ToyTokens {
  std::vector<std::int32_t> tokens, positions, key_begin, targets;
  std::vector<double> loss_weights;
  std::vector<std::int32_t> document_end;  ///< of each token: one past the last of its document
};

inline ToyTokens make_toy_tokens(const ToyBatchOptions& options) {
  ToyTokens toy;
  const Philox random(options.seed, RandomPurpose::test, 99);
  const std::int64_t length = options.tokens_per_sequence, cut = options.split_documents ? length / 2 : length;
  double valid = 0.0;
  for (std::int64_t t = 0; t < options.num_sequences * length; ++t) {
    const std::int64_t row = t / length, in_row = t % length;
    const std::int64_t begin = row * length + (in_row < cut ? 0 : cut),
                       end = row * length + (in_row < cut ? cut : length);
    toy.tokens.push_back(static_cast<std::int32_t>(random.word64(static_cast<std::uint64_t>(t)) %
                                                   static_cast<std::uint64_t>(options.vocab_size)));
    toy.positions.push_back(static_cast<std::int32_t>(t - begin));
    toy.key_begin.push_back(static_cast<std::int32_t>(begin));
    toy.document_end.push_back(static_cast<std::int32_t>(end));
    toy.loss_weights.push_back(t + 1 < end ? 1.0 : 0.0);
    valid += toy.loss_weights.back();
  }
  if (options.global_tokens > 0.0) valid = options.global_tokens;
  for (std::size_t t = 0; t < toy.tokens.size(); ++t) {
    toy.targets.push_back(toy.loss_weights[t] > 0.0 ? toy.tokens[t + 1] : 0);
    toy.loss_weights[t] /= valid;
  }
  return toy;
}

inline MicroBatch make_toy_batch(Backend& ops, Stream& stream, const ToyBatchOptions& options) {
  const ToyTokens toy = make_toy_tokens(options);
  const auto tokens = static_cast<std::int64_t>(toy.tokens.size());
  const auto upload_ids = [&](const std::vector<std::int32_t>& ids) {
    return upload_vector<std::int32_t>(ops, ids, {tokens}, stream);
  };
  const auto upload_weights = [&](const std::vector<double>& weights) {
    Tensor exact = upload_vector<double>(ops, weights, {tokens}, stream);
    if (options.acc == DType::f64) return exact;
    Tensor rounded = ops.empty({tokens}, options.acc);
    ops.copy(rounded, exact, stream);
    return rounded;
  };
  MicroBatch batch;
  batch.num_sequences = options.num_sequences;
  batch.tokens_per_sequence = options.tokens_per_sequence;
  batch.tokens_T = upload_ids(toy.tokens);
  batch.positions_T = upload_ids(toy.positions);
  batch.key_begin_T = upload_ids(toy.key_begin);
  batch.targets_T = upload_ids(toy.targets);
  batch.loss_weights_T = upload_weights(toy.loss_weights);
  const double weight = *std::max_element(toy.loss_weights.begin(), toy.loss_weights.end());
  for (std::int64_t k = 0; k < options.mtp_depth; ++k) {
    std::vector<std::int32_t> ids(toy.tokens.size(), 0), targets(toy.tokens.size(), 0);
    std::vector<double> weights(toy.tokens.size(), 0.0);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const auto i = static_cast<std::size_t>(t), next = static_cast<std::size_t>(t + k + 1);
      if (t + k + 1 < toy.document_end[i]) ids[i] = toy.tokens[next];
      if (t + k + 2 >= toy.document_end[i]) continue;
      targets[i] = toy.tokens[next + 1];
      weights[i] = weight * options.mtp_weight / static_cast<double>(options.mtp_depth);
    }
    batch.mtp.push_back({upload_ids(ids), upload_ids(targets), upload_weights(weights)});
  }
  return batch;
}

}  // namespace athanor::testing
