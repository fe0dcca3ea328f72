// Rows of tokens as the device tensors of a MicroBatch.
// Laws:
//  * Row = S+1 tokens t_0..t_S: token i has input t_i and target t_(i+1). MTP module k has input t_(i+k+1) and target
//    t_(i+k+2); past the row both are 0 and weigh nothing (DeepSeek-V3 report, section 2.2).
//  * Packed as in V3's pre-training (isolate_documents off): attention and targets run across documents, so the token
//    after eos is learned too.
//  * isolate_documents: a document ends with its eos. Tokens attend within their document, positions restart at it, and
//    no target, main or MTP, lies in another document than its input.
//  * Over the ranks of cp tensors hold the tokens that ContextCut keeps, row by row; positions and targets are those of
//    the whole sequence.
//  * A step allocates nothing on the heap once its sizes have been seen: host rows are kept, tensors are the arena's.
#pragma once

#include <span>
#include <vector>

#include "src/nn/context_cut.hpp"

namespace athanor {

struct BatchLayout {
  std::int64_t sequence_length = 0;  ///< S
  std::int64_t vocab_size = 0;       ///< of the model: larger ids are refused
  std::int64_t mtp_depth = 0;
  bool isolate_documents = false;
  std::int32_t eos_id = -1;
  DType acc = DType::f32;  ///< of loss weights: f32 or f64
  int cp_rank = 0, cp_size = 1;
};

/// What a micro-batch counts for in the global batch.
struct BatchWeights {
  double per_target = 1.0;    ///< 1 / targets of the global batch
  double mtp = 0.0;           ///< lambda of the MTP losses
  double per_sequence = 1.0;  ///< 1 / sequences of the global batch
};

class MicroBatchBuilder {
 public:
  /// @throws ConfigError when the layout is impossible.
  MicroBatchBuilder(Backend& ops, const BatchLayout& layout);

  /// Room for num_sequences rows of S+1 tokens, to be filled by the caller. Valid until the next call.
  std::span<std::int32_t> rows(std::int64_t num_sequences);

  /// Targets that count in the rows as they are: S a row, less the ones behind an eos when documents are isolated.
  std::int64_t count_targets() const;

  /// The rows as a training micro-batch. `batch`'s old tensors are let go. @throws DataError for an id outside the
  /// vocabulary.
  void build(MicroBatch& batch, const BatchWeights& weights, Stream& stream);

  /// The rows as an evaluation micro-batch: weight 1 for the first targets_of_row[r] targets of row r (0 behind an eos
  /// where documents are isolated), 0 behind; no MTP rows.
  void build_evaluation(MicroBatch& batch, std::span<const std::int64_t> targets_of_row, Stream& stream);

 private:
  void set_tokens(MicroBatch& batch, Stream& stream);
  void find_document_ends();
  /// ids_T_ (or weights_T_) of all tokens as a tensor of those kept here. What was staged is gone.
  Tensor upload_ids(Stream& stream);
  Tensor upload_weights(Stream& stream);

  Backend& ops_;
  BatchLayout layout_;
  std::int64_t num_sequences_ = 0;
  std::vector<std::int32_t> rows_BS1_;
  std::vector<std::int64_t> document_end_BS1_;  ///< in its row: one past the last token of the token's document
  ContextCut cut_;
  std::vector<std::int32_t> ids_T_;  ///< staging of all tokens, one tensor after the other
  std::vector<double> weights_T_;
  std::vector<float> weights_f32_T_;
};

}  // namespace athanor
