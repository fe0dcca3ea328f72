#include "io/checkpoint/raw_file.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "src/base/error.hpp"

namespace athanor {
namespace {
/// One call moves at most this much: under the system's limit of 2 GiB, and an interrupted one loses little.
constexpr std::size_t kTransferBytes = std::size_t{64} << 20;
}  // namespace

RawFile RawFile::open_read_only(const std::filesystem::path& path) { return {path, O_RDONLY}; }
RawFile RawFile::open_read_write(const std::filesystem::path& path) { return {path, O_RDWR}; }
RawFile RawFile::create(const std::filesystem::path& path) { return {path, O_RDWR | O_CREAT | O_TRUNC}; }

RawFile::RawFile(const std::filesystem::path& path, int flags)
    : path_(path), descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) fail("opening");
}
RawFile::RawFile(RawFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      direct_(std::exchange(other.direct_, -1)) {}
RawFile& RawFile::operator=(RawFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(direct_, other.direct_);
  return *this;
}
RawFile::~RawFile() {
  if (direct_ >= 0) ::close(direct_);
  if (descriptor_ >= 0 && ::close(descriptor_) != 0)
    spdlog::warn("closing {} failed: {}", path_.string(), std::strerror(errno));
}

void RawFile::fail(const char* what) const {
  throw DataError(std::string(what) + " " + path_.string() + " failed: " + std::strerror(errno));
}

std::int64_t RawFile::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("asking for the size of");
  return status.st_size;
}

void RawFile::reserve(std::int64_t bytes) {
  if (bytes <= 0) return;
  int status = 0;
  do {
    status = ::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, bytes);
  } while (status != 0 && errno == EINTR);
  if (status != 0 && (errno == ENOSPC || errno == EFBIG || errno == EDQUOT)) fail("claiming disk space for");
}

void RawFile::prefer_direct() {
  if (direct_ < 0) direct_ = ::open(path_.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
}

void RawFile::write_at(std::span<const std::byte> bytes, std::int64_t offset) {
  const auto on_page = [](auto place) { return static_cast<std::size_t>(place) % kPageBytes == 0; };
  if (direct_ >= 0 && on_page(reinterpret_cast<std::uintptr_t>(bytes.data())) && on_page(offset)) {
    auto whole_pages = bytes.first(bytes.size() / kPageBytes * kPageBytes);
    const std::size_t wanted = whole_pages.size();
    write_with(direct_, whole_pages, offset);
    bytes = bytes.subspan(wanted - whole_pages.size());
  }
  write_with(descriptor_, bytes, offset);
}

/// Writes from the front of `bytes` and moves on; all of them, but for what a direct descriptor refuses.
void RawFile::write_with(int descriptor, std::span<const std::byte>& bytes, std::int64_t& offset) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor, bytes.data(), std::min(bytes.size(), kTransferBytes), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EINVAL && descriptor == direct_) return;  // or a short write left it between blocks
    if (count < 0) fail("writing");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
}

void RawFile::read_at(std::span<std::byte> bytes, std::int64_t offset) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(descriptor_, bytes.data(), std::min(bytes.size(), kTransferBytes), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("reading");
    if (count == 0)
      throw DataError("reading " + path_.string() + ": it is truncated, it ends before byte " + std::to_string(offset));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
}

void RawFile::start_writeback(std::int64_t offset, std::int64_t bytes) noexcept {
  ::sync_file_range(descriptor_, offset, bytes, SYNC_FILE_RANGE_WRITE);
}

void RawFile::sync() {
  int status = 0;
  do {
    status = ::fsync(descriptor_);
  } while (status != 0 && errno == EINTR);
  if (status != 0) fail("syncing");
}

}  // namespace athanor
