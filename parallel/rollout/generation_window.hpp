// The steps of generation between two looks of the host, on the device. Laws: what a step reads (tokens, places,
// lengths, random draws) lies on the device and is moved on there by the step before, so the host waits once a window;
// a sequence that has ended counts for nothing until the window is over. The tensors of so many rows are the same in
// every window, so that a graph of a step stays true. R rows, N steps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/backend/backend.hpp"
#include "src/nn/decode_rows.hpp"

namespace athanor {

class GenerationWindow {
 public:
  /// A sequence at a window's beginning.
  struct Row {
    std::int64_t prompt = 0;  ///< with sibling and count: names its random draws
    std::int32_t sibling = 0;
    std::int32_t slot = 0;      ///< of the cache
    std::int32_t token = 0;     ///< the newest, which the next step reads
    std::int32_t position = 0;  ///< its place
    std::int32_t length = 0;    ///< tokens it may attend to; 0: the row counts for nothing
    std::int32_t count = 0;     ///< tokens written so far
  };
  /// How tokens are chosen.
  struct Choice {
    SamplingArgs sampling;
    std::uint64_t seed = 0;
    Tensor stop_ids_S;             ///< i32; undefined: none
    std::int64_t most_tokens = 0;  ///< of a sequence
  };

  /// @param acc  type of log-probabilities.
  GenerationWindow(Backend& ops, std::int64_t most_rows, std::int64_t most_steps, DType acc);

  std::int64_t most_steps() const { return most_steps_; }
  /// Begins a window.
  void begin(std::span<const Row> rows, Stream& stream);
  /// A step of one token a row.
  DecodeRows decode_rows(const Tensor& pages_SP) const;
  /// Draws the rows' next tokens. @param logits_RV  acc.
  void sample(const Tensor& logits_RV, const Choice& choice, Stream& stream);
  /// ids_R (i32) and logprobs_R (acc) that were drawn.
  const Tensor& ids_R() const { return ids_R_; }
  const Tensor& logprobs_R() const { return logprobs_R_; }
  /// Ends a step: what was drawn is written and stands as the newest.
  void advance(const Choice& choice, Stream& stream);

  /// What the first `steps` steps wrote; waits for them.
  void download(std::int64_t steps, Stream& stream);
  /// -1 where the row had ended.
  std::int32_t token(std::int64_t step, std::int64_t row) const { return tokens_[at(step, row)]; }
  double logprob(std::int64_t step, std::int64_t row) const { return logprobs_[at(step, row)]; }

 private:
  std::size_t at(std::int64_t step, std::int64_t row) const { return static_cast<std::size_t>(step * rows_ + row); }

  Backend& ops_;
  std::int64_t most_rows_, most_steps_, rows_ = 0;
  Tensor numbers_, prompts_, tokens_NR_, logprobs_NR_, all_ids_, all_logprobs_, all_keys_;  ///< for the most rows
  WrittenRows written_;                                                                     ///< of rows_ rows
  Tensor siblings_R_, slots_R_, step_1_, prompts_R_, ids_R_, logprobs_R_, keys_R_;
  std::vector<std::int32_t> host_numbers_, tokens_;
  std::vector<std::int64_t> host_prompts_;
  std::vector<float> logprobs_f32_;
  std::vector<double> logprobs_;
};

}  // namespace athanor
