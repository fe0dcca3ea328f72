#include "src/reward/script.hpp"

#include <algorithm>
#include <array>

namespace athanor {
namespace {

struct Block {
  char32_t first, last;
  Script script;
};

/// Letters by Unicode block, in order; what lies between is neutral.
constexpr std::array kBlocks{Block{U'A', U'Z', Script::latin},          Block{U'a', U'z', Script::latin},
                             Block{0x00AA, 0x00AA, Script::latin},      Block{0x00BA, 0x00BA, Script::latin},
                             Block{0x00C0, 0x00D6, Script::latin},      Block{0x00D8, 0x00F6, Script::latin},
                             Block{0x00F8, 0x024F, Script::latin},      Block{0x0370, 0x03FF, Script::greek},
                             Block{0x0400, 0x052F, Script::cyrillic},   Block{0x0531, 0x0587, Script::other},
                             Block{0x05D0, 0x05F2, Script::hebrew},     Block{0x0620, 0x065F, Script::arabic},
                             Block{0x066E, 0x06D3, Script::arabic},     Block{0x06EE, 0x06EF, Script::arabic},
                             Block{0x06FA, 0x06FF, Script::arabic},     Block{0x0904, 0x0963, Script::devanagari},
                             Block{0x0971, 0x097F, Script::devanagari}, Block{0x0980, 0x0DFF, Script::other},
                             Block{0x0E01, 0x0E3A, Script::thai},       Block{0x0E40, 0x0E4E, Script::thai},
                             Block{0x0E81, 0x10FF, Script::other},      Block{0x1100, 0x11FF, Script::hangul},
                             Block{0x1200, 0x1DBF, Script::other},      Block{0x1E00, 0x1EFF, Script::latin},
                             Block{0x1F00, 0x1FFF, Script::greek},      Block{0x2E80, 0x2FDF, Script::han},
                             Block{0x3005, 0x3007, Script::han},        Block{0x3041, 0x30FF, Script::kana},
                             Block{0x3105, 0x312F, Script::other},      Block{0x3131, 0x318E, Script::hangul},
                             Block{0x31F0, 0x31FF, Script::kana},       Block{0x3400, 0x4DBF, Script::han},
                             Block{0x4E00, 0x9FFF, Script::han},        Block{0xA000, 0xABFF, Script::other},
                             Block{0xAC00, 0xD7A3, Script::hangul},     Block{0xF900, 0xFAFF, Script::han},
                             Block{0xFB50, 0xFDFB, Script::arabic},     Block{0xFE70, 0xFEFC, Script::arabic},
                             Block{0xFF21, 0xFF3A, Script::latin},      Block{0xFF41, 0xFF5A, Script::latin},
                             Block{0xFF66, 0xFF9D, Script::kana},       Block{0x20000, 0x3134F, Script::han}};

}  // namespace

Script script_of(char32_t character) {
  const auto block = std::lower_bound(kBlocks.begin(), kBlocks.end(), character,
                                      [](const Block& b, char32_t c) { return b.last < c; });
  return block != kBlocks.end() && block->first <= character ? block->script : Script::neutral;
}

bool is_white_space(char32_t character) {
  return (character >= 0x09 && character <= 0x0D) || (character >= 0x1C && character <= 0x20) || character == 0x85 ||
         character == 0xA0 || character == 0x1680 || (character >= 0x2000 && character <= 0x200A) ||
         character == 0x2028 || character == 0x2029 || character == 0x202F || character == 0x205F ||
         character == 0x3000;
}

}  // namespace athanor
