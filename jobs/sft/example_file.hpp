// Examples of fine-tuning as a token file (io/dataset/token_file.hpp) that all ranks map: a machine holds one copy of
// what is read, and memory holds none. Laws: a document is an example; a learned token t is written as -1 - t. Equal
// origins mean there is nothing to make again.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/dataset/token_file.hpp"
#include "jobs/sft/example.hpp"

namespace athanor {

/// On one rank: writes all of them under another name and renames. @throws ConfigError where there are none.
void write_examples(const std::filesystem::path& file, std::span<const Example> examples, const std::string& origin);
/// Whether the file is there and has this origin. Looks at its attributes alone.
bool has_examples(const std::filesystem::path& file, const std::string& origin);

/// The examples of such a file by number.
class ExampleFile {
 public:
  /// @throws DataError when it is damaged.
  explicit ExampleFile(const std::filesystem::path& file) : file_(file.string()) {}

  std::int64_t size() const { return file_.info().num_documents; }
  Example example(std::int64_t number) const;
  /// Of all tokens and of which are learned.
  const std::string& checksum() const { return file_.info().checksum; }

 private:
  TokenFile file_;
};

}  // namespace athanor
