// Text files to one token file, by all ranks together.
// Laws:
//  * The file depends on the inputs, the options and the tokenizer, not on the number of ranks.
//  * Every rank tokenises its share of the byte ranges; rank 0 joins the parts in the order of the inputs.
//  * A file under the output's name is replaced by a rename at the very end, or not at all: an error leaves it as it
//  was
//    and nothing else behind. All ranks throw the same error.
//  * Memory is bounded by the longest document.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/dataset/document_reader.hpp"
#include "io/dataset/fill_in_middle.hpp"
#include "parallel/host_group.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

struct PrepareOptions {
  std::vector<std::string> inputs;  ///< .txt, .jsonl, and either with .gz
  std::string output;               ///< the token file (.h5)
  TextFormat format{};
  FillInMiddle fill_in_middle{};
};

/// How far rank 0 is; its share stands for all.
struct PrepareProgress {
  std::int64_t documents = 0;                         ///< of this rank
  double done = 0.0;                                  ///< share of the work, 0 to 1
  double bytes_per_second = 0.0, seconds_left = 0.0;  ///< over all ranks
};

struct PrepareResult {
  std::int64_t num_documents = 0, num_tokens = 0;
  std::int64_t text_bytes = 0;   ///< of the documents
  std::int64_t num_skipped = 0;  ///< documents of nothing but blanks
  double seconds = 0.0;
};

/// Collective. @param progress  called on rank 0, a few times a second.
/// @throws ConfigError or DataError, the same on every rank, naming file, place and remedy.
PrepareResult prepare_token_file(const PrepareOptions& options, const Tokenizer& tokenizer, HostGroup& group,
                                 const std::function<void(const PrepareProgress&)>& progress = nullptr);

/// True when options.output was made from these very inputs (by path, size and time of change), options and tokenizer.
/// Not collective; reads only the file's head. @throws ConfigError when an input is missing.
bool is_prepared(const PrepareOptions& options, const Tokenizer& tokenizer);

}  // namespace athanor
