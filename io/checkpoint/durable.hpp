// Files that are there after a crash: synced writes and renames.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "io/checkpoint/raw_file.hpp"

namespace athanor {

/// fsync of a folder: makes renames and new entries in it durable. @throws DataError
void sync_folder(const std::filesystem::path& path);
/// Writes `text` to path.tmp, syncs, renames to path, syncs the folder. Readers see the old or the new text, never a
/// part. @throws DataError
void replace_text_file(const std::filesystem::path& path, const std::string& text);

/// The same for text that comes in pieces and need not fit in memory. Nothing is to be seen at `path` before commit().
class TextFileReplacement {
 public:
  explicit TextFileReplacement(std::filesystem::path path);
  /// @throws DataError
  void append(std::string_view text);
  /// Once, at the end. @throws DataError
  void commit();

 private:
  void write_out();

  std::filesystem::path path_, temporary_;
  RawFile file_;
  std::string buffer_;
  std::int64_t written_ = 0;
};

}  // namespace athanor
