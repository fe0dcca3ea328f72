// Reading and writing the tokenizer file.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "src/base/error.hpp"
#include "src/text/bpe_tokenizer.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {
using nlohmann::json;

constexpr std::string_view kFormat = "athanor-tokenizer";
constexpr int kVersion = 1;

/// GPT-2's alphabet: printable bytes stand for themselves (as Latin-1), the others for U+0100, U+0101, ... in order.
const std::array<std::string, 256>& byte_alphabet() {
  static const std::array<std::string, 256> alphabet = [] {
    std::array<std::string, 256> letters;
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const unsigned code = printable ? byte : next++;
      if (code < 0x80)
        letters[byte] = static_cast<char>(code);
      else
        letters[byte] = {static_cast<char>(0xC0U | code >> 6), static_cast<char>(0x80U | (code & 0x3FU))};
    }
    return letters;
  }();
  return alphabet;
}

std::string to_alphabet(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += byte_alphabet()[static_cast<unsigned char>(byte)];
  return text;
}

/// @throws DataError naming a character that stands for no byte.
std::string from_alphabet(const std::string& text) {
  static const std::unordered_map<std::string_view, char> bytes = [] {
    std::unordered_map<std::string_view, char> map;
    for (std::size_t byte = 0; byte < 256; ++byte) map[byte_alphabet()[byte]] = static_cast<char>(byte);
    return map;
  }();
  std::string result;
  for (std::size_t position = 0; position < text.size();) {
    const std::string_view letter = std::string_view(text).substr(position, utf8_step(text, position).length);
    const auto byte = bytes.find(letter);
    if (byte == bytes.end()) throw DataError(fmt::format("token {}: {} stands for no byte", text, letter));
    result += byte->second;
    position += letter.size();
  }
  return result;
}

json to_json(const BpeTokenizer& tokenizer) {
  const BpeModel& model = tokenizer.model();
  json vocab = json::array(), merges = json::array(), special = json::array();
  for (const std::string& token : model.tokens) vocab.push_back(token.empty() ? json() : json(to_alphabet(token)));
  const auto written = [&](std::int32_t id) { return to_alphabet(model.tokens[static_cast<std::size_t>(id)]); };
  for (const Merge& merge : model.merges) merges.push_back(written(merge.left) + " " + written(merge.right));
  for (const SpecialToken& token : model.special_tokens)
    special.push_back({{"name", token.name}, {"text", token.text}, {"id", token.id}, {"said", token.is_said}});
  return {{"format", kFormat},
          {"version", kVersion},
          {"kind", "bpe"},
          {"patterns", model.patterns},
          {"special_tokens", special},
          {"vocab", vocab},
          {"merges", merges},
          {"content_hash", fmt::format("{:016x}", tokenizer.content_hash())}};
}

BpeModel from_json(const json& file) {
  if (file.at("format") != kFormat || file.at("version") != kVersion || file.at("kind") != "bpe")
    throw DataError(fmt::format("wanted format {} version {} kind bpe, found {} {} {}", kFormat, kVersion,
                                file.at("format").dump(), file.at("version").dump(), file.at("kind").dump()));
  BpeModel model;
  file.at("patterns").get_to(model.patterns);
  std::unordered_map<std::string, std::int32_t> id_of;
  for (const json& token : file.at("vocab")) {
    model.tokens.push_back(token.is_null() ? std::string() : from_alphabet(token.get<std::string>()));
    const auto id = static_cast<std::int32_t>(model.tokens.size() - 1);
    if (!token.is_null() && !id_of.emplace(model.tokens.back(), id).second)
      throw DataError(fmt::format("token {} is listed twice", token.get<std::string>()));
  }
  const auto id = [&](const std::string& bytes, const std::string& merge) {
    const auto found = id_of.find(bytes);
    if (found == id_of.end())
      throw DataError(fmt::format("merge \"{}\": {} is not in vocab", merge, to_alphabet(bytes)));
    return found->second;
  };
  for (const json& entry : file.at("merges")) {
    const auto merge = entry.get<std::string>();
    const std::size_t space = merge.find(' ');
    if (space == std::string::npos) throw DataError(fmt::format("merge \"{}\": wanted two tokens and a space", merge));
    const std::string left = from_alphabet(merge.substr(0, space)), right = from_alphabet(merge.substr(space + 1));
    model.merges.push_back({id(left, merge), id(right, merge), id(left + right, merge)});
  }
  for (const json& token : file.at("special_tokens"))
    model.special_tokens.push_back({token.at("name"), token.at("text"), token.at("id"), token.value("said", false)});
  return model;
}

}  // namespace

std::unique_ptr<BpeTokenizer> BpeTokenizer::load(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    throw ConfigError(
        fmt::format("tokenizer {}: no such file; give `byte` or a file made by `athanor tokenizer`", file));
  try {
    const json content = json::parse(in);
    auto tokenizer = std::make_unique<BpeTokenizer>(from_json(content));
    if (const std::string hash = fmt::format("{:016x}", tokenizer->content_hash()); content.at("content_hash") != hash)
      throw DataError(fmt::format("its content hashes to {}, but it names {}: it was changed or damaged", hash,
                                  content.at("content_hash").dump()));
    return tokenizer;
  } catch (const json::exception& error) {
    throw DataError(fmt::format("tokenizer {}: {}", file, error.what()));
  } catch (const DataError& error) {
    throw DataError(fmt::format("tokenizer {}: {}", file, error.what()));
  }
}

void BpeTokenizer::save(const std::string& file) const {
  const std::string unfinished = file + ".tmp";
  std::ofstream out(unfinished, std::ios::binary);
  out << to_json(*this).dump(1) << '\n';
  out.close();
  if (!out)
    throw DataError(
        fmt::format("tokenizer {}: cannot be written; is the disk full or the folder missing?", unfinished));
  std::filesystem::rename(unfinished, file);
}

}  // namespace athanor
