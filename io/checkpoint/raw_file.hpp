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
  /// Past the page cache, as far as memory and offset lie on pages, once prefer_direct() was called.
  void write_at(std::span<const std::byte> bytes, std::int64_t offset);
  /// Asks for writes that go from memory to the disk past the page cache, which spares the processor a copy and the
  /// machine its memory. Nothing where the file system cannot.
  void prefer_direct();
  void read_at(std::span<std::byte> bytes, std::int64_t offset) const;
  /// Lets the system start moving these written bytes to the disk; does not wait.
  void start_writeback(std::int64_t offset, std::int64_t bytes) noexcept;
  /// fsync.
  void sync();

  static constexpr std::size_t kPageBytes = 4096;  ///< what memory and offsets of direct writes are multiples of

 private:
  RawFile(const std::filesystem::path& path, int flags);
  void write_with(int descriptor, std::span<const std::byte>& bytes, std::int64_t& offset);
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  int direct_ = -1;  ///< the same file, opened for direct writes
};

}  // namespace athanor
