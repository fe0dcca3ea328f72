#include "io/checkpoint/durable.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/base/error.hpp"

namespace athanor {
namespace {

[[noreturn]] void fail(const std::string& what, const std::filesystem::path& path) {
  throw DataError(what + " " + path.string() + " failed: " + std::strerror(errno));
}

void sync_path(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0) fail("opening", path);
  const int status = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  errno = error;
  if (status != 0) fail("syncing", path);
}

}  // namespace

void sync_file(const std::filesystem::path& path) { sync_path(path, O_RDWR); }
void sync_folder(const std::filesystem::path& path) { sync_path(path, O_RDONLY | O_DIRECTORY); }

void replace_text_file(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (descriptor < 0) fail("creating", temporary);
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(descriptor, text.data() + written, text.size() - written);
    if (count < 0) {
      ::close(descriptor);
      fail("writing", temporary);
    }
    written += static_cast<std::size_t>(count);
  }
  const bool synced = ::fsync(descriptor) == 0;
  ::close(descriptor);
  if (!synced) fail("syncing", temporary);
  std::filesystem::rename(temporary, path);
  sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

}  // namespace athanor
