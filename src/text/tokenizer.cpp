#include "src/text/tokenizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <set>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/text/bpe_tokenizer.hpp"
#include "src/text/byte_tokenizer.hpp"
#include "src/text/utf8.hpp"

namespace athanor {

std::vector<SpecialToken> default_special_tokens() {
  return {{"bos", "<｜begin▁of▁sentence｜>"},
          {"eos", "<｜end▁of▁sentence｜>"},
          {"pad", "<｜▁pad▁｜>"},
          {"fim_begin", "<｜fim▁begin｜>"},
          {"fim_hole", "<｜fim▁hole｜>"},
          {"fim_end", "<｜fim▁end｜>"},
          {"user", "<｜User｜>"},
          {"assistant", "<｜Assistant｜>"},
          {"think", "<think>", -1, true},
          {"end_think", "</think>", -1, true},
          {"im_start", "<|im_start|>"},
          {"im_end", "<|im_end|>"},
          {"start_header", "<|start_header_id|>"},
          {"end_header", "<|end_header_id|>"},
          {"eot", "<|eot_id|>"}};
}

Tokenizer::Tokenizer(std::string kind, std::vector<std::string> tokens, std::vector<SpecialToken> special_tokens,
                     std::string_view rules)
    : kind_(std::move(kind)), tokens_(std::move(tokens)), special_tokens_(std::move(special_tokens)) {
  is_special_.assign(tokens_.size(), false);
  is_hidden_.assign(tokens_.size(), false);
  std::set<std::string_view> names, texts;
  for (const SpecialToken& token : special_tokens_) {
    if (token.id < 0)
      throw DataError(fmt::format("special token {}: its id is {}, not a number from 0", token.name, token.id));
    if (token.text.empty() || find_invalid_utf8(token.text))
      throw DataError(fmt::format("special token {}: its text must be UTF-8 and not empty", token.name));
    if (!names.insert(token.name).second) throw DataError(fmt::format("two special tokens are named {}", token.name));
    if (!texts.insert(token.text).second) throw DataError(fmt::format("two special tokens are written {}", token.text));
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= tokens_.size()) {
      tokens_.resize(id + 1);
      is_special_.resize(id + 1, false);
      is_hidden_.resize(id + 1, false);
    }
    if (!tokens_[id].empty()) throw DataError(fmt::format("special token {}: id {} is taken", token.name, token.id));
    tokens_[id] = token.text;
    is_special_[id] = true;
    is_hidden_[id] = !token.is_said;
  }
  std::string content = fmt::format("{}\n{}\n{}\n", kind_, rules.size(), rules);
  for (std::size_t id = 0; id < tokens_.size(); ++id)
    content += fmt::format("{} {} {}\n", is_special_[id] ? 's' : 't', tokens_[id].size(), tokens_[id]);
  std::sort(special_tokens_.begin(), special_tokens_.end(),
            [](const SpecialToken& a, const SpecialToken& b) { return a.id < b.id; });
  for (const SpecialToken& token : special_tokens_) content += fmt::format("{} {}\n", token.id, token.name);
  content_hash_ = stable_hash(content);
  longest_first_.resize(special_tokens_.size());
  std::iota(longest_first_.begin(), longest_first_.end(), std::size_t{0});
  std::stable_sort(longest_first_.begin(), longest_first_.end(), [&](std::size_t a, std::size_t b) {
    return special_tokens_[a].text.size() > special_tokens_[b].text.size();
  });
}

void Tokenizer::encode(std::string_view text, std::vector<std::int32_t>& ids, const EncodeOptions& options) const {
  std::string mended;
  if (const auto invalid = find_invalid_utf8(text)) {
    if (!options.replace_invalid)
      throw DataError(fmt::format("text is not UTF-8: byte 0x{:02X} at offset {} of {}",
                                  static_cast<unsigned>(static_cast<unsigned char>(text[*invalid])), *invalid,
                                  text.size()));
    mended = replace_invalid_utf8(text);
    text = mended;
  }
  if (options.allow_special)
    encode_with_special(text, ids);
  else
    encode_ordinary(text, ids);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<std::int32_t> ids;
  encode(text, ids, options);
  return ids;
}

void Tokenizer::encode_with_special(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::array<bool, 256> may_begin{};
  for (const SpecialToken& token : special_tokens_) may_begin[static_cast<unsigned char>(token.text[0])] = true;
  std::size_t ordinary_begin = 0, position = 0;
  while (position < text.size()) {
    const SpecialToken* found = nullptr;
    if (may_begin[static_cast<unsigned char>(text[position])])
      for (const std::size_t candidate : longest_first_)
        if (text.substr(position).starts_with(special_tokens_[candidate].text)) {
          found = &special_tokens_[candidate];
          break;
        }
    if (found == nullptr) {
      ++position;
      continue;
    }
    if (position > ordinary_begin) encode_ordinary(text.substr(ordinary_begin, position - ordinary_begin), ids);
    ids.push_back(found->id);
    position += found->text.size();
    ordinary_begin = position;
  }
  if (ordinary_begin < text.size()) encode_ordinary(text.substr(ordinary_begin), ids);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool show_special) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab_size())
      text += kReplacementCharacter;
    else if (show_special || !is_hidden_[static_cast<std::size_t>(id)])
      text += tokens_[static_cast<std::size_t>(id)];
  }
  return text;
}

std::string_view Tokenizer::token_bytes(std::int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw Error(fmt::format("token {} is not in the vocabulary of {} tokens", id, vocab_size()));
  return tokens_[static_cast<std::size_t>(id)];
}

bool Tokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < vocab_size() && is_special_[static_cast<std::size_t>(id)];
}

std::int64_t Tokenizer::text_bytes(std::int32_t id) const {
  return is_special(id) ? 0 : static_cast<std::int64_t>(token_bytes(id).size());
}

bool Tokenizer::has_special(std::string_view name) const {
  return std::any_of(special_tokens_.begin(), special_tokens_.end(),
                     [&](const SpecialToken& token) { return token.name == name; });
}

std::int32_t Tokenizer::special(std::string_view name) const {
  std::string known;
  for (const SpecialToken& token : special_tokens_) {
    if (token.name == name) return token.id;
    known += (known.empty() ? "" : ", ") + token.name;
  }
  throw ConfigError(fmt::format("the {} tokenizer has no special token named {}; it has: {}", kind_, name, known));
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& name_or_file) {
  if (name_or_file == "byte") return std::make_unique<ByteTokenizer>();
  return BpeTokenizer::load(name_or_file);
}

}  // namespace athanor
