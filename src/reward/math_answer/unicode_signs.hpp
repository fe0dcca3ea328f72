// Unicode signs of mathematics and their LaTeX: the table behind unicode_to_latex().
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace athanor::math {

/// Appends what the character at text[position] is in LaTeX (itself where the table does not know it, U+FFFD where it
/// is ill-formed) and moves position behind it.
void append_sign(std::string_view text, std::size_t& position, std::string& out);

/// A run of raised or lowered digits at text[position] as ^{...} or _{...}. False and nothing done when there is none.
bool append_raised_digits(std::string_view text, std::size_t& position, std::string& out);

}  // namespace athanor::math
