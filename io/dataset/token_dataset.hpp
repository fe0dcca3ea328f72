// A stretch of a token file: the whole, the part to train on, or the part held out.
#pragma once

#include <memory>

#include "io/dataset/token_file.hpp"

namespace athanor {

class TokenDataset {
 public:
  explicit TokenDataset(std::shared_ptr<const TokenFile> file);
  /// Tokens [begin, end) of the file.
  TokenDataset(std::shared_ptr<const TokenFile> file, std::int64_t begin, std::int64_t end);

  std::int64_t num_tokens() const { return end_ - begin_; }
  /// Tokens [begin, begin + out.size()) of this stretch.
  void read(std::int64_t begin, std::span<std::int32_t> out) const { file_->read_tokens(begin_ + begin, out); }

  const TokenFile& file() const { return *file_; }
  std::int64_t begin() const { return begin_; }
  std::int64_t end() const { return end_; }
  /// Names the tokens themselves: their file's checksum and the stretch, not the file's name.
  std::uint64_t fingerprint() const;

 private:
  std::shared_ptr<const TokenFile> file_;
  std::int64_t begin_ = 0, end_ = 0;
};

struct HeldOutSplit {
  TokenDataset train, held_out;  ///< held_out has no tokens where the fraction is 0
};

/// Holds the last `fraction` of the tokens out. The cut is the end of the document nearest to the asked place; where
/// that would hold out less than half or more than twice of what was asked (few long documents, or one), the document
/// there is cut in two. @throws ConfigError for a fraction outside [0, 1).
HeldOutSplit split_held_out(std::shared_ptr<const TokenFile> file, double fraction);

}  // namespace athanor
