#include "io/checkpoint/durable.hpp"

#include "io/checkpoint/raw_file.hpp"
#include "src/base/error.hpp"

namespace athanor {

void sync_folder(const std::filesystem::path& path) { RawFile::open_read_only(path).sync(); }

void replace_text_file(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  {
    auto file = RawFile::create(temporary);
    file.write_at(std::as_bytes(std::span(text)), 0);
    file.sync();
  }
  std::error_code failed;
  std::filesystem::rename(temporary, path, failed);
  if (failed) throw DataError("renaming " + temporary.string() + " failed: " + failed.message());
  sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

}  // namespace athanor
