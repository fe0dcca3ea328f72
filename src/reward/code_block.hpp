// Fenced blocks of code in a completion: ```python, a line break, code, ```. Source: open-r1 rewards.py, extract_code.
#pragma once

#include <optional>
#include <string_view>

namespace athanor {

/// The last whole block of that language (case-sensitive, the word right behind the fence and nothing after it);
/// nullopt when there is none. Blocks are read from the front, so a fence that closes one cannot open the next.
std::optional<std::string_view> last_code_block(std::string_view text, std::string_view language);

}  // namespace athanor
