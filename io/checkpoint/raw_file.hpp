// Bytes of a file at given places, past HDF5. Law: a call does all of its bytes or throws a DataError that names the
// file and the system's reason (full disk, quota, truncated file).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace athanor {

class RawFile {
 public:
  static RawFile open_read_only(const std::filesystem::path& path);
  static RawFile open_read_write(const std::filesystem::path& path);
  /// A new file; an old one of that name is emptied.
  static RawFile create(const std::filesystem::path& path);
  RawFile(RawFile&& other) noexcept;
  RawFile& operator=(RawFile&& other) noexcept;
  ~RawFile();

  std::int64_t size() const;
  /// Claims disk space for the first `bytes`, so that a full disk is found before the long write. Nothing where the
  /// file system cannot.
  void reserve(std::int64_t bytes);
  void write_at(std::span<const std::byte> bytes, std::int64_t offset);
  void read_at(std::span<std::byte> bytes, std::int64_t offset) const;
  /// Lets the system start moving these written bytes to the disk; does not wait.
  void start_writeback(std::int64_t offset, std::int64_t bytes) noexcept;
  /// fsync.
  void sync();

 private:
  RawFile(const std::filesystem::path& path, int flags);
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace athanor
