// Cuts text into pre-tokens: the pieces inside which byte pairs are merged, and across which they never are.
// Law: patterns work in turn; each cuts every piece it is given into its matches and what lies between them, and
// nothing is lost: the pieces joined are the text. Patterns are PCRE2 with Unicode properties (\p{L}, \s, ...).
// Source of the shape: the tokenizers of the DeepSeek, Llama and Qwen families.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

/// Digits in groups of up to three; runs of Chinese and Japanese writing; then words with the one space or sign before
/// them, punctuation with the line breaks after it, line breaks, spaces.
std::vector<std::string> default_pre_token_patterns();

class PreTokenizer {
 public:
  /// Working memory of split(); one per thread.
  class Scratch {
   public:
    Scratch();
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();

   private:
    friend class PreTokenizer;
    struct Memory;
    std::unique_ptr<Memory> memory_;
  };

  /// @throws ConfigError naming a pattern that does not compile, and where in it.
  explicit PreTokenizer(std::vector<std::string> patterns);
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  /// Appends the pieces of well-formed `text` to `pieces`; none is empty. They are views of `text`.
  /// @throws Error when a pattern needs more work than PCRE2 allows.
  void split(std::string_view text, std::vector<std::string_view>& pieces, Scratch& scratch) const;

  const std::vector<std::string>& patterns() const { return patterns_; }

 private:
  struct Pattern;
  void split_from(std::size_t pattern, std::string_view text, std::vector<std::string_view>& pieces,
                  Scratch& scratch) const;

  std::vector<std::string> patterns_;
  std::vector<Pattern> compiled_;
};

}  // namespace athanor
