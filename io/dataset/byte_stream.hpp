// The bytes of a file in order, decompressed where the file is gzip (told by its first bytes, not by its name).
#pragma once

#include <cstdint>
#include <span>
#include <string>

struct gzFile_s;

namespace athanor {

class ByteStream {
 public:
  /// @param begin  first byte to give; counted in the decompressed bytes.
  /// @throws ConfigError when the file cannot be opened.
  explicit ByteStream(const std::string& path, std::int64_t begin = 0);
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  ~ByteStream();

  /// Fills `out` from the start; less than its size only at the end of the file. @returns the bytes given.
  /// @throws DataError when the file ends inside compressed data or is damaged.
  std::size_t read(std::span<char> out);

  /// How far into the file itself reading has come, compressed or not: for progress.
  std::int64_t file_position() const;

  static bool is_gzip(const std::string& path);

 private:
  std::string path_;
  gzFile_s* file_ = nullptr;
};

}  // namespace athanor
