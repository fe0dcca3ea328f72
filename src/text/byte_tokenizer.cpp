#include "src/text/byte_tokenizer.hpp"

namespace athanor {
namespace {

std::vector<std::string> all_bytes() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  return tokens;
}

std::vector<SpecialToken> numbered_special_tokens() {
  std::vector<SpecialToken> tokens = default_special_tokens();
  std::int32_t id = 256;
  for (SpecialToken& token : tokens) token.id = id++;
  return tokens;
}

}  // namespace

ByteTokenizer::ByteTokenizer() : Tokenizer("byte", all_bytes(), numbered_special_tokens(), "") {}

void ByteTokenizer::encode_ordinary(std::string_view text, std::vector<std::int32_t>& ids) const {
  const std::size_t begin = ids.size();
  ids.resize(begin + text.size());
  for (std::size_t i = 0; i < text.size(); ++i) ids[begin + i] = static_cast<unsigned char>(text[i]);
}

}  // namespace athanor
