#include "io/dataset/jsonl_reader.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/dataset/text_files.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

const std::string& existing(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error) || !std::filesystem::exists(path, error))
    throw ConfigError(path + ": no such file; wanted one JSON object a line");
  return path;
}

}  // namespace

JsonlReader::JsonlReader(const std::string& path) : path_(path), stream_(existing(path)) {}

bool JsonlReader::next_line(std::string& text) {
  text.clear();
  for (;;) {
    const std::size_t end = buffer_.find('\n', cursor_);
    text.append(buffer_, cursor_, end == std::string::npos ? end : end - cursor_);
    if (end != std::string::npos) {
      cursor_ = end + 1;
      return true;
    }
    cursor_ = 0;
    buffer_.resize(at_end_ ? 0 : kTextReadBytes);
    if (at_end_) return !text.empty();
    buffer_.resize(stream_.read(buffer_));
    at_end_ = buffer_.size() < kTextReadBytes;
  }
}

bool JsonlReader::next(nlohmann::json& object) {
  for (std::string text; next_line(text);) {
    ++line_;
    if (line_ == 1 && text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
    if (text.find_first_not_of(" \t\r\v\f") == std::string::npos) continue;
    try {
      object = nlohmann::json::parse(text);
    } catch (const nlohmann::json::exception& error) {
      throw ConfigError(fmt::format("{}: {}", place(), without_tag(error.what())));
    }
    if (!object.is_object())
      throw ConfigError(fmt::format("{}: wanted a JSON object, found {}", place(), object.type_name()));
    return true;
  }
  return false;
}

std::string JsonlReader::place() const { return fmt::format("{}: line {}", path_, line_); }

}  // namespace athanor
