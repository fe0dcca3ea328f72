// Tokenizer: text to token ids and back. Laws:
//  * Text is well-formed UTF-8; encode refuses or mends anything else. decode(encode(text)) == text, byte for byte.
//  * Special tokens stand for no text. They come out of encode only when asked for (EncodeOptions::allow_special), so
//    text from outside cannot forge one. They have a name ("eos") by which the program knows them and a text
//    ("<｜end▁of▁sentence｜>") by which files write them. Some are part of what an assistant says (`</think>`): these
//    show in the text of a completion, where the others do not.
//  * content_hash() names the whole behaviour: two tokenizers of one hash give the same ids. Token files keep it.
//  * One object may be used by several threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

struct SpecialToken {
  std::string name;  ///< "eos"
  std::string text;  ///< "<｜end▁of▁sentence｜>"
  std::int32_t id = -1;
  bool is_said = false;  ///< part of what an assistant says: decode always shows it
  friend bool operator==(const SpecialToken&, const SpecialToken&) = default;
};

/// No ids yet: bos, eos, pad, fim_begin, fim_hole, fim_end, user, assistant with DeepSeek-V3's texts; think, end_think
/// with DeepSeek-R1's, which are said; im_start, im_end of ChatML; start_header, end_header, eot of Llama 3. All that
/// the layouts of chat_template.hpp ask for, at the price of a row of the embedding each.
std::vector<SpecialToken> default_special_tokens();

struct EncodeOptions {
  bool allow_special = false;    ///< texts of special tokens become these tokens (longest first); else they are text
  bool replace_invalid = false;  ///< bytes that are no UTF-8 become U+FFFD; else they are an error
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Appends the ids of `text` to `ids`. @throws DataError naming the offset of the first byte that is no UTF-8.
  void encode(std::string_view text, std::vector<std::int32_t>& ids, const EncodeOptions& options = {}) const;
  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// The bytes of the tokens in a row. Special tokens show as their text, or, without `show_special`, only those that
  /// are said (SpecialToken::is_said): what rewards and people read of a completion. An id outside the vocabulary (a
  /// model's vocabulary may be padded) shows as U+FFFD.
  std::string decode(std::span<const std::int32_t> ids, bool show_special = true) const;

  /// The bytes of one token; a special token's text. @throws Error when there is no such id.
  std::string_view token_bytes(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  /// Bytes of text the token stands for, 0 for a special one: what bits per byte are counted over.
  std::int64_t text_bytes(std::int32_t id) const;

  /// @throws ConfigError listing the names there are.
  std::int32_t special(std::string_view name) const;
  bool has_special(std::string_view name) const;
  std::int32_t bos_id() const { return special("bos"); }
  std::int32_t eos_id() const { return special("eos"); }
  /// By id.
  const std::vector<SpecialToken>& special_tokens() const { return special_tokens_; }

  /// One more than the largest id.
  std::int64_t vocab_size() const { return static_cast<std::int64_t>(tokens_.size()); }
  /// "byte" or "bpe".
  std::string_view kind() const { return kind_; }
  std::uint64_t content_hash() const { return content_hash_; }

 protected:
  /// @param tokens  the bytes of each id; empty at ids of special tokens and at unused ids.
  /// @param rules   everything else that decides what encode gives (patterns, merges), for the content hash.
  /// @throws DataError when special tokens share a name, a text or an id, or an id is taken.
  Tokenizer(std::string kind, std::vector<std::string> tokens, std::vector<SpecialToken> special_tokens,
            std::string_view rules);

 private:
  virtual void encode_ordinary(std::string_view text, std::vector<std::int32_t>& ids) const = 0;
  void encode_with_special(std::string_view text, std::vector<std::int32_t>& ids) const;

  std::string kind_;
  std::vector<std::string> tokens_;           ///< special ones included
  std::vector<bool> is_special_, is_hidden_;  ///< by id; hidden: special and not said
  std::vector<SpecialToken> special_tokens_;  ///< by id
  std::vector<std::size_t> longest_first_;    ///< of special_tokens_, by text: the order in which they are tried
  std::uint64_t content_hash_ = 0;
};

/// "byte", or a file written by BpeTokenizer::save. @throws ConfigError, DataError naming the file.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& name_or_file);

}  // namespace athanor
