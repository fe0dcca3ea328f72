// Which texts share a run of n words with those of a benchmark. Source: DeepSeek-R1 (arXiv 2501.12948v2, supplement on
// decontamination): what shares a 10-gram with an evaluation question or its reference solution is left out.
// Laws
//  * Words are compared, not writing: ASCII case, blanks and punctuation do not matter; a sign that computes (+ - * / =
//    < > ^ %) is a word, a number with its decimal point is one, every Chinese character is one.
//  * A text shorter than n words has no n-gram; as a question it is compared whole.
//  * Memory is bounded: 64-bit hashes, at most 32 bytes an n-gram, and no more of them than was allowed. Two texts are
//    taken for the same by chance once in 2^64 / n-grams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

/// The words of a text as this index compares them.
std::vector<std::u32string> compared_words(std::string_view text);

/// Numbers other than 0 in a table of open addresses.
class HashSet64 {
 public:
  /// @returns whether it is new. @throws DataError when there are `most` already.
  bool insert(std::uint64_t hash, std::size_t most);
  bool contains(std::uint64_t hash) const;
  std::size_t size() const { return size_; }

 private:
  std::size_t slot_of(std::uint64_t hash) const;
  void grow();

  std::vector<std::uint64_t> slots_;  ///< 0: free; their number a power of two, at most half of them taken
  std::size_t size_ = 0;
};

class NgramIndex {
 public:
  static constexpr std::size_t kMostNgrams = std::size_t{1} << 26;  ///< in a table of 1 GiB

  /// @param n  words of an n-gram, at least 1 (ConfigError).
  explicit NgramIndex(int n, std::size_t most_ngrams = kMostNgrams);

  /// A question of a benchmark: its n-grams, or the whole of a short one. @throws DataError beyond the bound.
  void add_question(std::string_view text);
  /// A question that is one of many of the same wording (made by a program): only as a whole.
  void add_whole_question(std::string_view text);
  /// Another text of a benchmark (a solution): its n-grams.
  void add_text(std::string_view text);

  /// Whether a prompt is one of the whole questions, or shares an n-gram.
  bool has_question(std::string_view text) const;
  /// Whether a text shares an n-gram.
  bool has_part_of(std::string_view text) const;

  std::size_t num_ngrams() const { return ngrams_.size(); }
  std::size_t num_whole_questions() const { return whole_.size(); }

 private:
  std::size_t n_, most_;
  HashSet64 ngrams_, whole_;
};

}  // namespace athanor
