#include "io/checkpoint/durable.hpp"

#include <span>
#include <system_error>
#include <utility>

#include "src/base/error.hpp"

namespace athanor {

void sync_folder(const std::filesystem::path& path) { RawFile::open_read_only(path).sync(); }

void replace_text_file(const std::filesystem::path& path, const std::string& text) {
  TextFileReplacement file(path);
  file.append(text);
  file.commit();
}

namespace {
constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
}

TextFileReplacement::TextFileReplacement(std::filesystem::path path)
    : path_(std::move(path)), temporary_(path_.string() + ".tmp"), file_(RawFile::create(temporary_)) {}

void TextFileReplacement::append(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kBufferBytes) write_out();
}

void TextFileReplacement::write_out() {
  file_.write_at(std::as_bytes(std::span(buffer_)), written_);
  written_ += std::ssize(buffer_);
  buffer_.clear();
}

void TextFileReplacement::commit() {
  write_out();
  file_.sync();
  std::error_code failed;
  std::filesystem::rename(temporary_, path_, failed);
  if (failed) throw DataError("renaming " + temporary_.string() + " failed: " + failed.message());
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

}  // namespace athanor
