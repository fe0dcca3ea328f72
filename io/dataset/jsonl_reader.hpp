// The objects of a .jsonl file (plain or gzip), one after the other. Law: a line that cannot be used is an error that
// names file and line; blank lines are left out.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "io/dataset/byte_stream.hpp"

namespace athanor {

class JsonlReader {
 public:
  /// @throws ConfigError when the file cannot be opened.
  explicit JsonlReader(const std::string& path);
  /// @returns false at the end. @throws ConfigError for a line that is no JSON object or no UTF-8.
  bool next(nlohmann::json& object);
  /// Of the object given last, from 1.
  std::int64_t line() const { return line_; }
  /// "file.jsonl: line 17".
  std::string place() const;

 private:
  bool next_line(std::string& text);

  const std::string path_;
  ByteStream stream_;
  std::string buffer_;
  std::size_t cursor_ = 0;
  std::int64_t line_ = 0;
  bool at_end_ = false;
};

}  // namespace athanor
