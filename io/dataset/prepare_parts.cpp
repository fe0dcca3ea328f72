#include "io/dataset/prepare_parts.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "src/base/error.hpp"

namespace athanor {
namespace fs = std::filesystem;

NumberFile::NumberFile(std::string path, Mode mode)
    : path_(std::move(path)), file_(std::fopen(path_.c_str(), mode == Mode::write ? "wb" : "rb")) {
  if (!file_) throw DataError(fmt::format("{}: cannot be opened: {}", path_, std::strerror(errno)));
}

void NumberFile::write(std::span<const std::byte> bytes) {
  if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size())
    throw DataError(fmt::format("{}: cannot be written: {}", path_, std::strerror(errno)));
}

void NumberFile::read(std::span<std::byte> bytes) {
  if (!bytes.empty() && std::fread(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size())
    throw DataError(
        fmt::format("{}: ends before the {} bytes wanted; do all ranks see this folder?", path_, bytes.size()));
}

void NumberFile::close() {
  if (std::fclose(file_.release()) != 0)
    throw DataError(fmt::format("{}: cannot be written: {}", path_, std::strerror(errno)));
}

void PrepareFolder::make() const {
  std::error_code error;
  fs::remove_all(path_, error);
  fs::create_directories(path_, error);
  if (error) throw ConfigError(fmt::format("{}: cannot make this folder: {}", path_, error.message()));
}

void PrepareFolder::remove() const noexcept {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void PrepareFolder::mark_failed() const noexcept {
  try {
    std::ofstream(path_ + "/failed").put('\n');
  } catch (...) {  // the others then find out at the end of their share
  }
}

bool PrepareFolder::is_marked_failed() const {
  std::error_code ignored;
  return fs::exists(path_ + "/failed", ignored);
}

}  // namespace athanor
