// UTF-8, checked as in the Unicode Standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
// Law: text enters the program through here once; everything behind may take it as well-formed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace athanor {

/// U+FFFD as UTF-8.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

enum class Utf8State : std::uint8_t {
  complete,   ///< a whole character
  cut_short,  ///< the text ends inside what may become a character
  invalid     ///< no character begins with these bytes
};

struct Utf8Step {
  Utf8State state;
  std::size_t length;  ///< bytes of the character, or of the ill-formed part that one U+FFFD stands for (at least 1)
};

/// What begins at text[position].
Utf8Step utf8_step(std::string_view text, std::size_t position);

/// Offset of the first byte that is not part of a well-formed character.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// The text with U+FFFD for every ill-formed part (maximal subparts, as web browsers do).
std::string replace_invalid_utf8(std::string_view text);

/// Number of characters of well-formed text.
std::size_t count_characters(std::string_view text);

/// Code points of any text, U+FFFD for every ill-formed part.
std::u32string to_code_points(std::string_view text);

/// Offset of character number `index` of well-formed text; its size when there are fewer.
std::size_t character_offset(std::string_view text, std::size_t index);

}  // namespace athanor
