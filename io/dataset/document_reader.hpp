// Documents of text files, one after the other. A document is a line of .jsonl (one field of its object), a part of
// .txt between separators, or a whole .txt file where no separator is given. Laws:
//  * A file may be cut into byte ranges that different ranks read: a document belongs to the range it begins in. Ranges
//    that cover the file give every document once, whatever the cuts.
//  * Memory: one document and one read buffer. Documents of nothing but blanks are left out.
//  * What is handed out is well-formed UTF-8. Errors name the file, the byte offset and, in .jsonl, the line.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/dataset/byte_stream.hpp"

namespace athanor {

struct TextFormat {
  std::string text_field = "text";  ///< of the object in a line of .jsonl
  std::string separator{};          ///< between documents of a .txt; empty: the file is one document
  bool replace_invalid = false;     ///< bytes that are no UTF-8 become U+FFFD; else they are an error
};

struct TextSource {
  std::string path;
  std::int64_t file_bytes = 0;
  std::int64_t modified_ns = 0;  ///< time of the last change
  bool is_jsonl = false, is_gzip = false;
};

/// @throws ConfigError when the file is missing, no regular file, or its name ends in neither .txt nor .jsonl (.gz).
TextSource find_text_source(const std::string& path);

/// Bytes [begin, end) of a source. Files that cannot be entered in the middle are one range: gzip, a .txt without a
/// separator or with one that can overlap itself (such as two line breaks).
struct ByteRange {
  std::size_t source = 0;
  std::int64_t begin = 0, end = 0;
  std::int64_t work_bytes = 0;  ///< file bytes to read: for sharing out and progress
};
std::vector<ByteRange> cut_into_ranges(const std::vector<TextSource>& sources, const TextFormat& format,
                                       std::int64_t range_bytes);

struct Document {
  std::string text;
  std::int64_t offset = 0;  ///< where its record begins in the (decompressed) file: its identity within the source
};

class DocumentReader {
 public:
  DocumentReader(const TextSource& source, const TextFormat& format, const ByteRange& range);

  /// @returns false at the end. @throws DataError for text that cannot be used.
  bool next(Document& document);

  std::int64_t num_skipped() const { return num_skipped_; }
  /// File bytes read so far, for progress.
  std::int64_t bytes_read() const;

 private:
  bool fill();
  std::optional<std::string_view> next_record(std::int64_t& offset);
  void take_text(std::string_view record, std::int64_t offset, std::string& text) const;
  std::string line_name(std::int64_t offset) const;

  const TextSource source_;
  const TextFormat format_;
  const std::string separator_;
  const std::int64_t end_;
  const std::int64_t first_file_position_;
  ByteStream stream_;
  std::string buffer_;
  std::int64_t buffer_offset_;  ///< of buffer_[0] in the file
  std::size_t cursor_ = 0;      ///< where the next record begins in buffer_
  bool at_end_of_file_ = false;
  std::int64_t num_skipped_ = 0;
};

}  // namespace athanor
