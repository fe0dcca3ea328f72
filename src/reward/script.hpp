// Which writing a character belongs to: enough to tell the words of one language from those of another.
#pragma once

#include <cstdint>

namespace athanor {

enum class Script : std::uint8_t {
  neutral,  ///< digits, punctuation, symbols, blanks, emoji
  latin,
  greek,
  cyrillic,
  hebrew,
  arabic,
  devanagari,
  thai,
  han,
  kana,
  hangul,
  other  ///< letters of any other writing
};

Script script_of(char32_t character);
/// Written without blanks between words: Han and Kana.
inline bool is_cjk(Script script) { return script == Script::han || script == Script::kana; }
/// White space as Unicode has it (and as a split into words takes it).
bool is_white_space(char32_t character);

}  // namespace athanor
