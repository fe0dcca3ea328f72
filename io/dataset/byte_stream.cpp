#include "io/dataset/byte_stream.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "src/base/error.hpp"

namespace athanor {

ByteStream::ByteStream(const std::string& path, std::int64_t begin) : path_(path) {
  file_ = gzopen(path.c_str(), "rb");
  if (file_ == nullptr) throw ConfigError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  gzbuffer(file_, 1U << 18);
  gzdirect(file_);  // looks whether the file is compressed; else gzseek would read its way through a plain file
  if (begin > 0 && gzseek(file_, begin, SEEK_SET) != begin) {
    gzclose(file_);
    throw DataError(fmt::format("{}: cannot go to byte {}; is the file shorter than it was?", path, begin));
  }
}

ByteStream::~ByteStream() { gzclose(file_); }

std::size_t ByteStream::read(std::span<char> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto wanted = static_cast<unsigned>(std::min<std::size_t>(out.size() - done, std::size_t{1} << 30));
    const int got = gzread(file_, out.data() + done, wanted);
    int code = Z_OK;
    const char* const reason = gzerror(file_, &code);
    // A file cut inside its compressed data gives what it has, then Z_BUF_ERROR.
    if (got < 0 || code == Z_BUF_ERROR || code == Z_DATA_ERROR)
      throw DataError(fmt::format("{}: damaged or cut short after {} decompressed bytes: {}", path_,
                                  static_cast<std::int64_t>(gztell(file_)), reason));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

std::int64_t ByteStream::file_position() const { return gzoffset(file_); }

bool ByteStream::is_gzip(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[2] = {0, 0};
  in.read(magic, 2);
  return in.gcount() == 2 && magic[0] == '\x1F' && magic[1] == '\x8B';
}

}  // namespace athanor
