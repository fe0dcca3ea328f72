#include "jobs/sft/example_file.hpp"

#include "src/base/error.hpp"

namespace athanor {
namespace fs = std::filesystem;

void write_examples(const fs::path& file, std::span<const Example> examples, const std::string& origin) {
  if (examples.empty()) throw ConfigError("sft.data: no conversation is left to train on");
  TokenFileInfo info{.tokenizer = "examples", .num_documents = std::ssize(examples), .origin = origin};
  std::vector<std::int64_t> ends;
  ends.reserve(examples.size());
  for (const Example& example : examples) ends.push_back(info.num_tokens += std::ssize(example.tokens));
  fs::create_directories(file.parent_path());
  const fs::path part = file.string() + ".tmp";
  TokenFileWriter writer(part.string(), info);
  std::vector<std::int32_t> written;
  for (const Example& example : examples) {
    written.clear();
    for (std::size_t i = 0; i < example.tokens.size(); ++i)
      written.push_back(example.learned[i] != 0 ? -1 - example.tokens[i] : example.tokens[i]);
    writer.append_tokens(written);
  }
  writer.append_document_ends(ends);
  writer.finish();
  fs::rename(part, file);
}

bool has_examples(const fs::path& file, const std::string& origin) {
  try {
    return fs::exists(file) && TokenFile(file.string()).info().origin == origin;
  } catch (const DataError&) {
    return false;  // made again
  }
}

Example ExampleFile::example(std::int64_t number) const {
  const std::int64_t begin = number == 0 ? 0 : file_.document_end(number - 1), end = file_.document_end(number);
  Example example;
  example.tokens.resize(static_cast<std::size_t>(end - begin));
  file_.read_tokens(begin, example.tokens);
  for (std::int32_t& token : example.tokens) {
    example.learned.push_back(static_cast<std::uint8_t>(token < 0));
    if (token < 0) token = -1 - token;
  }
  return example;
}

}  // namespace athanor
