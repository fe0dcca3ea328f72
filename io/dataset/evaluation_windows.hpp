// Held-out text, every token scored once: windows of S targets that follow each other without overlap, in the order of
// the sources. The first token of a source has nothing before it and is not scored, nor is that of a document where
// documents are isolated; the last window may be part full.
// Bits per byte = (sum of losses in nats) / ln 2 / (sum of Window::text_bytes).
#pragma once

#include <vector>

#include "io/dataset/token_dataset.hpp"

namespace athanor {

class EvaluationWindows {
 public:
  struct Window {
    std::int64_t num_targets = 0;  ///< of S; the rest of the row is padding
    std::int64_t num_scored = 0;   ///< of these, all but the first tokens of isolated documents
    std::int64_t text_bytes = 0;   ///< that the scored ones stand for; special tokens stand for none
  };

  /// @throws ConfigError when no source has two tokens, or one is of another tokenizer.
  EvaluationWindows(std::vector<TokenDataset> sources, const Tokenizer& tokenizer, std::int64_t sequence_length,
                    bool isolate_documents);

  std::int64_t num_windows() const { return first_window_.back(); }
  std::int64_t sequence_length() const { return sequence_length_; }
  /// Fills a row of S+1 tokens: inputs and, one further, targets; eos where the text has ended.
  Window read(std::int64_t window, std::span<std::int32_t> out_S1) const;

 private:
  std::vector<TokenDataset> sources_;
  std::vector<std::int64_t> first_window_;  ///< of each source, and the total
  std::vector<std::int32_t> bytes_of_token_;
  std::int64_t sequence_length_;
  std::int32_t eos_id_;
  bool isolate_documents_;
};

}  // namespace athanor
