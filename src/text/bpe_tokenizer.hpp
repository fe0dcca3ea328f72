// Byte-level byte-pair encoding. Every byte is a token, so any text can be written; merges make the rest.
// Law of the file (JSON, format "athanor-tokenizer"): `vocab` lists the tokens by id in GPT-2's byte alphabet (each
// byte one printable character), null where an id belongs to a special token or to nothing; `merges` in order of rank.
// The file alone decides what encode gives.
#pragma once

#include <array>
#include <mutex>
#include <unordered_map>

#include "src/text/merge_table.hpp"
#include "src/text/pre_tokenizer.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

/// All there is to know about a BPE tokenizer.
struct BpeModel {
  std::vector<std::string> patterns;  ///< of the pre-tokenizer
  std::vector<std::string> tokens;    ///< bytes by id; empty: no ordinary token
  std::vector<Merge> merges;          ///< by rank
  std::vector<SpecialToken> special_tokens;
};

class BpeTokenizer final : public Tokenizer {
 public:
  /// @throws DataError when a byte has no token or a merge does not fit its tokens; ConfigError for a bad pattern.
  explicit BpeTokenizer(BpeModel model);

  /// @throws ConfigError when there is no such file, DataError when it is damaged.
  static std::unique_ptr<BpeTokenizer> load(const std::string& file);
  /// Written beside the file and renamed, so a reader never sees half of it. @throws DataError.
  void save(const std::string& file) const;

  const BpeModel& model() const { return model_; }

 private:
  /// What one thread needs while it encodes; keeps the tokens of pre-tokens seen before.
  struct Scratch {
    struct Hash {
      using is_transparent = void;
      std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    PreTokenizer::Scratch pre_tokenizer;
    std::vector<std::string_view> pieces;
    std::vector<std::int32_t> piece_ids;
    std::unordered_map<std::string, std::vector<std::int32_t>, Hash, std::equal_to<>> seen;
  };

  void encode_ordinary(std::string_view text, std::vector<std::int32_t>& ids) const override;
  void encode_with(Scratch& scratch, std::string_view text, std::vector<std::int32_t>& ids) const;

  BpeModel model_;
  PreTokenizer pre_tokenizer_;
  MergeTable merges_;
  std::array<std::int32_t, 256> byte_ids_{};
  mutable std::mutex scratch_mutex_;  ///< guards scratch_; a thread that finds it taken uses a scratch of its own
  mutable Scratch scratch_;
};

}  // namespace athanor
