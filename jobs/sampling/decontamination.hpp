// Keeps benchmarks out of training data: what shares a run of words with them is not learned from.
// Laws
//  * Of a file (`jsonl:FILE`) every question counts, and every text of its lines (reference solutions), by n-grams; of
//  a
//    generated task the held-out problems that a stage of kind evaluate asks, each compared whole, for all problems of
//    a generated task share their wording.
//  * The same on every rank: each reads the files.
#pragma once

#include <span>

#include "io/options/job_options.hpp"
#include "src/filter/completion_parts.hpp"
#include "src/filter/ngram_index.hpp"
#include "src/task/problem.hpp"
#include "src/text/chat_template.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

class Decontamination {
 public:
  /// @param options  sampling.decontaminate, sampling.ngram; evaluate.problems of generated tasks (else 256).
  /// @throws ConfigError for tasks there are none of and files with too many bad lines.
  Decontamination(const JobOptions& options, const Tokenizer& tokenizer, bool logs);

  /// Whether the user's turns are a benchmark's question, or share an n-gram with one.
  bool asks(const Problem& problem) const;
  /// Whether the reasoning or the answer shares an n-gram with a benchmark.
  bool tells(const CompletionParts& parts) const;
  /// Whether any message of a conversation does either.
  bool occurs_in(std::span<const ChatMessage> messages) const;

  const NgramIndex& index() const { return index_; }

 private:
  NgramIndex index_;
};

}  // namespace athanor
