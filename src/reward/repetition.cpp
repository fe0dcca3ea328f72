#include "src/reward/repetition.hpp"

#include <fmt/format.h>

#include <map>
#include <set>
#include <string>

#include "src/base/error.hpp"
#include "src/reward/script.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {

char32_t lower(char32_t c) { return c >= U'A' && c <= U'Z' ? c - U'A' + U'a' : c; }

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

/// A number for every word of the text; equal words have equal numbers.
std::vector<std::uint32_t> word_numbers(const std::u32string& text, bool by_signs) {
  std::map<std::u32string, std::uint32_t> known;
  std::vector<std::uint32_t> numbers;
  for (std::size_t at = 0; at < text.size();) {
    if (is_white_space(text[at])) {
      ++at;
      continue;
    }
    std::u32string word;
    const auto joins = [&](char32_t c) {
      if (is_white_space(c)) return false;
      if (!by_signs || word.empty()) return true;
      const auto in_run = [](char32_t x) {
        const Script script = script_of(x);
        return is_digit(x) || (script != Script::neutral && !is_cjk(script));
      };
      return in_run(c) && in_run(word.back());
    };
    while (at < text.size() && joins(text[at])) word += lower(text[at++]);
    numbers.push_back(known.try_emplace(std::move(word), static_cast<std::uint32_t>(known.size())).first->second);
  }
  return numbers;
}

}  // namespace

double repeated_ngram_share(std::string_view text, int ngram_size, RepeatedUnit unit) {
  const auto words = word_numbers(to_code_points(text), unit == RepeatedUnit::signs);
  const auto n = static_cast<std::size_t>(ngram_size);
  if (words.size() < n) return 0.0;
  const std::size_t total = words.size() - n + 1;
  std::set<std::vector<std::uint32_t>> different;
  for (std::size_t i = 0; i < total; ++i)
    different.emplace(words.begin() + static_cast<std::ptrdiff_t>(i),
                      words.begin() + static_cast<std::ptrdiff_t>(i + n));
  return 1.0 - static_cast<double>(different.size()) / static_cast<double>(total);
}

RepetitionPenalty::RepetitionPenalty(int ngram_size, double max_penalty)
    : ngram_size_(ngram_size), max_penalty_(max_penalty) {
  if (max_penalty > 0.0)
    throw ConfigError(fmt::format("repetition_penalty: max_penalty {} should not be positive", max_penalty));
  if (ngram_size < 1) throw ConfigError(fmt::format("repetition_penalty: n-grams of {} words", ngram_size));
}

std::optional<double> RepetitionPenalty::score(const RewardSample& sample) const {
  const bool chinese = sample.language.starts_with("zh");
  const double share =
      repeated_ngram_share(sample.completion, ngram_size_, chinese ? RepeatedUnit::signs : RepeatedUnit::words);
  return share > 0.0 ? max_penalty_ * share : 0.0;
}

}  // namespace athanor
