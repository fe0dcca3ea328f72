#include "src/text/utf8.hpp"

#include <cstring>

namespace athanor {
namespace {

bool is_continuation(unsigned char byte) { return (byte & 0xC0U) == 0x80U; }

/// First offset from `position` on where eight ASCII bytes in a row end.
std::size_t skip_ascii(std::string_view text, std::size_t position) {
  while (position + 8 <= text.size()) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + position, 8);
    if ((word & 0x8080808080808080U) != 0) break;
    position += 8;
  }
  return position;
}

}  // namespace

Utf8Step utf8_step(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Utf8State::complete, 1};
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xBF;  // of the second byte: this is where overlong forms and surrogates show
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Utf8State::invalid, 1};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (position + i == text.size()) return {Utf8State::cut_short, i};
    const bool fits = i == 1 ? byte(1) >= low && byte(1) <= high : is_continuation(byte(i));
    if (!fits) return {Utf8State::invalid, i};
  }
  return {Utf8State::complete, length};
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  for (std::size_t position = skip_ascii(text, 0); position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    if (step.state != Utf8State::complete) return position;
    position += step.length;
    if (step.length == 1) position = skip_ascii(text, position);
  }
  return std::nullopt;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    clean += step.state == Utf8State::complete ? text.substr(position, step.length) : kReplacementCharacter;
    position += step.length;
  }
  return clean;
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += is_continuation(static_cast<unsigned char>(c)) ? 0 : 1;
  return count;
}

std::u32string to_code_points(std::string_view text) {
  std::u32string characters;
  characters.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    const auto lead = static_cast<unsigned char>(text[position]);
    // The lead byte of a character of n > 1 bytes carries its 7 - n low bits; U+FFFD stands for what is no character.
    char32_t character = step.length == 1 ? lead : lead & (0x7FU >> step.length);
    for (std::size_t i = 1; i < step.length; ++i)
      character = character << 6 | (static_cast<unsigned char>(text[position + i]) & 0x3FU);
    characters.push_back(step.state == Utf8State::complete ? character : U'\uFFFD');
    position += step.length;
  }
  return characters;
}

std::size_t character_offset(std::string_view text, std::size_t index) {
  for (std::size_t offset = 0; offset < text.size(); ++offset) {
    if (is_continuation(static_cast<unsigned char>(text[offset]))) continue;
    if (index-- == 0) return offset;
  }
  return text.size();
}

}  // namespace athanor
