// A file's bytes as memory, read-only: pages are read when they are touched and cost nothing before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace athanor {

class MappedFile {
 public:
  /// @throws ConfigError when there is no such file, DataError when the system refuses.
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace athanor
