#include "src/task/wording.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <sstream>

namespace athanor {

std::string calculation(Wording wording, const std::vector<std::string>& steps) {
  if (wording == Wording::symbols) return fmt::format("{}", fmt::join(steps, ";"));
  std::string text;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (wording == Wording::english)
      text += fmt::format("{}{} {}.", i == 0 ? "" : " ", i == 0 ? "First," : "Then", steps[i]);
    else
      text += fmt::format("{}{}。", i == 0 ? "先算" : "再算", steps[i]);
  }
  return text;
}

std::string enumeration(Wording wording, const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, in_words(wording, ", ", "、", ",")));
}

std::vector<std::string> split_words(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::int64_t missed_value(std::int64_t value, Draw& slip) {
  constexpr std::array<std::int64_t, 8> kMisses{-10, -3, -2, -1, 1, 2, 3, 10};
  return value + slip.one_of(kMisses);
}

}  // namespace athanor
