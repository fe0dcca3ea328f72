// Text of a generation in progress. Law: what push returns is well-formed UTF-8; bytes that may still become a
// character are kept back until they do, or until finish().
#pragma once

#include <string>

#include "src/text/tokenizer.hpp"

namespace athanor {

class StreamDecoder {
 public:
  /// @param tokenizer  must outlive this.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool show_special = false)
      : tokenizer_(tokenizer), show_special_(show_special) {}

  /// The text that token `id` completes; may be empty.
  std::string push(std::int32_t id);
  /// What is left: U+FFFD where a character was cut short.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool show_special_;
  std::string pending_;
};

}  // namespace athanor
