// Token files: tokenised documents in HDF5, made by `athanor prepare`.
//   /tokens         [N] i32, contiguous: every document's tokens, each document ending in eos
//   /document_ends  [D] i64, contiguous: one past the last token of each document; rising, the last is N
//   /origin         text (JSON): what the file was made of and how; equal origins mean there is nothing to make again
//   attributes of /tokens: format_version, tokenizer, tokenizer_hash, vocab_size, eos_id, num_tokens, num_documents,
//   text_bytes, xxh3 (XXH3-128 of the bytes of tokens, then of document_ends)
// Laws: a file under its final name is whole (it is written under another and renamed). A reader maps it and costs
// nothing by itself; what it checks at once are sizes and attributes, and verify() reads everything.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "io/dataset/mapped_file.hpp"
#include "io/hdf5/file.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

struct TokenFileInfo {
  std::string tokenizer{};  ///< kind: "byte", "bpe"
  std::uint64_t tokenizer_hash = 0;
  std::int64_t vocab_size = 0;
  std::int32_t eos_id = 0;
  std::int64_t num_tokens = 0, num_documents = 0;
  std::int64_t text_bytes = 0;  ///< of the documents before they were tokens
  std::string origin{};
  std::string checksum{};  ///< 32 hexadecimal digits
};

class TokenFileWriter {
 public:
  /// A new file for exactly info.num_tokens tokens and info.num_documents documents. info.checksum is found here.
  TokenFileWriter(const std::string& path, const TokenFileInfo& info);
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;
  ~TokenFileWriter();

  /// All tokens first, in order, then all document ends.
  void append_tokens(std::span<const std::int32_t> tokens);
  void append_document_ends(std::span<const std::int64_t> ends);
  /// Writes the attributes, closes and flushes to the disk. @throws DataError when something was left out.
  void finish();

 private:
  struct Checksum;
  TokenFileInfo info_;
  hdf5::File file_;
  std::optional<hdf5::Dataset> tokens_, document_ends_;  ///< until finish()
  std::int64_t tokens_written_ = 0, ends_written_ = 0;
  std::unique_ptr<Checksum> checksum_;
};

class TokenFile {
 public:
  /// @throws ConfigError when there is no such file; DataError when it is no token file, or damaged or cut short, with
  /// the sizes wanted and found.
  explicit TokenFile(const std::string& path);

  const std::string& path() const { return path_; }
  const TokenFileInfo& info() const { return info_; }
  /// tokens[begin, begin + out.size()).
  void read_tokens(std::int64_t begin, std::span<std::int32_t> out) const;
  std::int64_t document_end(std::int64_t document) const;

  /// Reads everything. @throws DataError when checksum or document ends are wrong.
  void verify() const;

 private:
  std::span<const std::byte> mapped_dataset(hdf5::File& file, const std::string& name, DType dtype,
                                            std::int64_t count) const;

  std::string path_;
  MappedFile mapping_;
  TokenFileInfo info_;
  std::span<const std::byte> tokens_, document_ends_;  ///< not aligned
};

/// @throws ConfigError when the file's tokens are of another tokenizer.
void check_tokenizer(const TokenFile& file, const Tokenizer& tokenizer);

}  // namespace athanor
