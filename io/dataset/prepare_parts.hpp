// What the ranks leave for rank 0 while a token file is made: OUTPUT.tmp/ with, for each rank, its tokens (i32) and the
// lengths of its documents (i64), in the order of its ranges. The folder is removed when the file is done or has
// failed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace athanor {

/// A file of plain numbers, written or read from front to end. @throws DataError naming the file.
class NumberFile {
 public:
  enum class Mode : std::uint8_t { write, read };
  NumberFile(std::string path, Mode mode);
  void write(std::span<const std::byte> bytes);
  void read(std::span<std::byte> bytes);
  /// Where an unnoticed full disk would hurt.
  void close();

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

/// The folder, and what lies where in it.
class PrepareFolder {
 public:
  explicit PrepareFolder(const std::string& output) : path_(output + ".tmp") {}
  /// An empty folder, whatever was there. @throws ConfigError when it cannot be made.
  void make() const;
  void remove() const noexcept;
  /// Says to the other ranks that there is no point in going on.
  void mark_failed() const noexcept;
  bool is_marked_failed() const;

  std::string tokens_of(int rank) const { return path_ + "/tokens." + std::to_string(rank); }
  std::string lengths_of(int rank) const { return path_ + "/lengths." + std::to_string(rank); }
  std::string result() const { return path_ + "/result.h5"; }

 private:
  std::string path_;
};

}  // namespace athanor
