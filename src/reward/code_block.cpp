#include "src/reward/code_block.hpp"

#include <string>

namespace athanor {

std::optional<std::string_view> last_code_block(std::string_view text, std::string_view language) {
  const std::string opening = "```" + std::string(language) + "\n";
  std::optional<std::string_view> last;
  for (std::size_t at = text.find(opening); at != std::string_view::npos; at = text.find(opening, at)) {
    const std::size_t from = at + opening.size();
    const std::size_t end = text.find("```", from);
    if (end == std::string_view::npos) break;
    last = text.substr(from, end - from);
    at = end + 3;
  }
  return last;
}

}  // namespace athanor
