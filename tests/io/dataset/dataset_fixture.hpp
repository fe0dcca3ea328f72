// Scratch files and token files for the tests of io/dataset.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "io/dataset/token_dataset.hpp"
#include "src/base/error.hpp"
#include "src/text/byte_tokenizer.hpp"
#include "tests/support/scratch_folder.hpp"

namespace athanor::testing {

/// @returns the file's path.
inline std::string write_gzip(const ScratchFolder& folder, const std::string& name, const std::string& content) {
  gzFile file = gzopen((folder / name).c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return folder / name;
}

/// A token file of documents of these lengths; token i of the file is i % 200, but eos at each document's end.
inline std::shared_ptr<const TokenFile> make_token_file(const std::string& path,
                                                        const std::vector<std::int64_t>& document_lengths) {
  const ByteTokenizer tokenizer;
  TokenFileInfo info;
  info.tokenizer = "byte";
  info.tokenizer_hash = tokenizer.content_hash();
  info.vocab_size = tokenizer.vocab_size();
  info.eos_id = tokenizer.eos_id();
  info.num_documents = static_cast<std::int64_t>(document_lengths.size());
  info.num_tokens = std::accumulate(document_lengths.begin(), document_lengths.end(), std::int64_t{0});
  info.origin = "made for a test";
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(info.num_tokens));
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i % 200);
  std::vector<std::int64_t> ends;
  for (const std::int64_t length : document_lengths) {
    ends.push_back((ends.empty() ? 0 : ends.back()) + length);
    tokens[static_cast<std::size_t>(ends.back() - 1)] = info.eos_id;
  }
  TokenFileWriter writer(path, info);
  writer.append_tokens(tokens);
  writer.append_document_ends(ends);
  writer.finish();
  return std::make_shared<TokenFile>(path);
}

template <class E, class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing of that kind was thrown";
}

#define EXPECT_CONTAINS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << "in: " << (text) << "\nno: " << (part)

}  // namespace athanor::testing
