#include "src/filter/ngram_index.hpp"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "src/base/error.hpp"
#include "src/reward/script.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

char32_t lower(char32_t c) { return c >= U'A' && c <= U'Z' ? c - U'A' + U'a' : c; }
bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_letter(char32_t c) { return script_of(c) != Script::neutral && !is_cjk(script_of(c)); }
bool computes(char32_t c) {
  return std::u32string_view(U"+-*/=<>^%\u00d7\u00f7\u2212\u2264\u2265").find(c) != std::u32string_view::npos;
}

std::uint64_t mixed(std::uint64_t hash) {
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdU;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53U;
  return hash ^ hash >> 33;
}

/// Of the words in their order and their bounds; never 0, which marks a free slot.
std::uint64_t hash_of(std::span<const std::u32string> words) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const std::u32string& word : words) {
    for (const char32_t c : word) hash = (hash ^ c) * 0x100000001b3U;
    hash = mixed(hash ^ 0xffffffffU);
  }
  return hash == 0 ? 1 : hash;
}

}  // namespace

std::vector<std::u32string> compared_words(std::string_view text) {
  const std::u32string characters = to_code_points(text);
  std::vector<std::u32string> words;
  for (std::size_t at = 0; at < characters.size();) {
    const char32_t first = characters[at];
    if (is_cjk(script_of(first)) || computes(first)) {
      words.emplace_back(1, first);
      ++at;
      continue;
    }
    std::u32string word;
    for (; at < characters.size(); ++at) {
      const char32_t c = characters[at];
      const bool between_digits =
          at > 0 && at + 1 < characters.size() && is_digit(characters[at - 1]) && is_digit(characters[at + 1]);
      if (is_letter(c) || is_digit(c))
        word += lower(c);
      else if (c == U'.' && between_digits && !word.empty())
        word += c;
      else if (!(c == U',' && between_digits && !word.empty()))  // 1,000 is 1000
        break;
    }
    if (word.empty())
      ++at;
    else
      words.push_back(std::move(word));
  }
  return words;
}

std::size_t HashSet64::slot_of(std::uint64_t hash) const {
  std::size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot] != 0 && slots_[slot] != hash) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void HashSet64::grow() {
  const auto old = std::exchange(slots_, std::vector<std::uint64_t>(slots_.empty() ? 1024 : 2 * slots_.size()));
  for (const std::uint64_t hash : old)
    if (hash != 0) slots_[slot_of(hash)] = hash;
}

bool HashSet64::insert(std::uint64_t hash, std::size_t most) {
  if (contains(hash)) return false;
  if (size_ >= most)
    throw DataError(fmt::format("benchmarks have more than {} different n-grams; name fewer or shorter ones", most));
  if (2 * (size_ + 1) > slots_.size()) grow();
  slots_[slot_of(hash)] = hash;
  ++size_;
  return true;
}

bool HashSet64::contains(std::uint64_t hash) const { return size_ > 0 && slots_[slot_of(hash)] == hash; }

NgramIndex::NgramIndex(int n, std::size_t most_ngrams) : n_(static_cast<std::size_t>(n)), most_(most_ngrams) {
  if (n < 1) throw ConfigError(fmt::format("decontamination: n-grams of {} words; wanted at least 1", n));
}

void NgramIndex::add_question(std::string_view text) {
  const auto words = compared_words(text);
  if (words.size() < n_ && !words.empty()) whole_.insert(hash_of(words), most_);
  for (std::size_t i = 0; i + n_ <= words.size(); ++i) ngrams_.insert(hash_of(std::span(words).subspan(i, n_)), most_);
}

void NgramIndex::add_whole_question(std::string_view text) {
  const auto words = compared_words(text);
  if (!words.empty()) whole_.insert(hash_of(words), most_);
}

void NgramIndex::add_text(std::string_view text) {
  const auto words = compared_words(text);
  for (std::size_t i = 0; i + n_ <= words.size(); ++i) ngrams_.insert(hash_of(std::span(words).subspan(i, n_)), most_);
}

bool NgramIndex::has_question(std::string_view text) const {
  const auto words = compared_words(text);
  return (!words.empty() && whole_.contains(hash_of(words))) || has_part_of(text);
}

bool NgramIndex::has_part_of(std::string_view text) const {
  if (ngrams_.size() == 0) return false;
  const auto words = compared_words(text);
  for (std::size_t i = 0; i + n_ <= words.size(); ++i)
    if (ngrams_.contains(hash_of(std::span(words).subspan(i, n_)))) return true;
  return false;
}

}  // namespace athanor
