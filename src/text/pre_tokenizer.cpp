#include "src/text/pre_tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::size_t kJitStackBytes = std::size_t{1} << 20;

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

PCRE2_SPTR as_pcre2(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

struct Free {
  void operator()(pcre2_code* code) const noexcept { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const noexcept { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const noexcept { pcre2_match_context_free(context); }
  void operator()(pcre2_jit_stack* stack) const noexcept { pcre2_jit_stack_free(stack); }
};

}  // namespace

std::vector<std::string> default_pre_token_patterns() {
  return {
      R"(\p{N}{1,3})", R"([\p{Han}\p{Hiragana}\p{Katakana}]+)",
      R"([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
}

struct PreTokenizer::Pattern {
  std::unique_ptr<pcre2_code, Free> code;
};

struct PreTokenizer::Scratch::Memory {
  std::unique_ptr<pcre2_match_data, Free> match{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Free> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Free> stack{pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr)};
};

PreTokenizer::Scratch::Scratch() : memory_(std::make_unique<Memory>()) {
  if (!memory_->match || !memory_->context || !memory_->stack) throw Error("pre-tokenizer: no memory for PCRE2");
  pcre2_jit_stack_assign(memory_->context.get(), nullptr, memory_->stack.get());
}
PreTokenizer::Scratch::Scratch(Scratch&&) noexcept = default;
PreTokenizer::Scratch& PreTokenizer::Scratch::operator=(Scratch&&) noexcept = default;
PreTokenizer::Scratch::~Scratch() = default;

PreTokenizer::PreTokenizer(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {
  for (const std::string& pattern : patterns_) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    Pattern compiled{std::unique_ptr<pcre2_code, Free>(
        pcre2_compile(as_pcre2(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr))};
    if (!compiled.code)
      throw ConfigError(fmt::format("pre-token pattern {}: {} at offset {}", pattern, pcre2_message(error), offset));
    // Where the system forbids JIT memory the interpreter does the same work, slower.
    pcre2_jit_compile(compiled.code.get(), PCRE2_JIT_COMPLETE);
    compiled_.push_back(std::move(compiled));
  }
}
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

void PreTokenizer::split(std::string_view text, std::vector<std::string_view>& pieces, Scratch& scratch) const {
  split_from(0, text, pieces, scratch);
}

void PreTokenizer::split_from(std::size_t pattern, std::string_view text, std::vector<std::string_view>& pieces,
                              Scratch& scratch) const {
  if (text.empty()) return;
  if (pattern == compiled_.size()) {
    pieces.push_back(text);
    return;
  }
  const Scratch::Memory& memory = *scratch.memory_;
  std::size_t done = 0;
  while (done < text.size()) {
    const int status = pcre2_match(compiled_[pattern].code.get(), as_pcre2(text), text.size(), done,
                                   PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, memory.match.get(), memory.context.get());
    if (status == PCRE2_ERROR_NOMATCH) break;
    if (status < 0)
      throw Error(fmt::format("pre-token pattern {}: {} in a text of {} bytes", patterns_[pattern],
                              pcre2_message(status), text.size()));
    const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(memory.match.get());
    const std::size_t begin = range[0], end = range[1];
    split_from(pattern + 1, text.substr(done, begin - done), pieces, scratch);
    split_from(pattern + 1, text.substr(begin, end - begin), pieces, scratch);
    done = end;
  }
  split_from(pattern + 1, text.substr(done), pieces, scratch);
}

}  // namespace athanor
