// Learns the merges of a byte-level BPE tokenizer from text.
// Laws:
//  * The result is a function of the multiset of pre-tokens: not of the order of texts, nor of hashing. The most
//    frequent pair is merged first; of equally frequent ones the one whose left, then right token has the lower id.
//  * Ids: 0..255 the bytes, then the merges in order, then the special tokens.
//  * Pre-tokens longer than 1 KiB are not counted: they are data, not language, and would cost quadratic time.
#pragma once

#include <functional>
#include <unordered_map>

#include "src/text/bpe_tokenizer.hpp"

namespace athanor {

struct BpeTrainerOptions {
  std::int64_t vocab_size = 8192;  ///< bytes and special tokens included
  std::int64_t min_pair_count = 2;
  bool may_be_smaller = false;  ///< a text with fewer pairs than asked for gives fewer tokens, in place of an error
  std::vector<std::string> patterns = default_pre_token_patterns();
  std::vector<SpecialToken> special_tokens = default_special_tokens();  ///< ids are given here
};

class BpeTrainer {
 public:
  /// @throws ConfigError when vocab_size has no room for the bytes and special tokens.
  explicit BpeTrainer(BpeTrainerOptions options);

  /// Counts the pre-tokens of one document. @throws DataError naming the offset of what is no UTF-8.
  void add(std::string_view text);

  /// @param progress  called now and then with the merges done and wanted.
  /// @throws ConfigError when the text has too few pairs for the vocabulary and it may not be smaller, with the size
  /// that it can fill.
  std::unique_ptr<BpeTokenizer> train(const std::function<void(std::int64_t, std::int64_t)>& progress = nullptr) const;

 private:
  BpeTrainerOptions options_;
  PreTokenizer pre_tokenizer_;
  PreTokenizer::Scratch scratch_;
  std::vector<std::string_view> pieces_;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> counts_;
};

}  // namespace athanor
