#include "jobs/rl/gathered_completions.hpp"

#include <cstring>
#include <string>
#include <type_traits>

namespace athanor {
namespace {

template <class Value>
void put(std::string& text, const Value* values, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<Value>);
  text.append(reinterpret_cast<const char*>(values), count * sizeof(Value));
}

template <class Value>
void take(const char*& from, Value* values, std::size_t count) {
  std::memcpy(values, from, count * sizeof(Value));
  from += count * sizeof(Value);
}

struct Head {
  std::int64_t prompt, sibling, tokens;
  Completion::End end;
};

std::string packed(const std::vector<Completion>& completions) {
  std::string text;
  for (const Completion& completion : completions) {
    const Head head{completion.prompt, completion.sibling, std::ssize(completion.tokens), completion.end};
    put(text, &head, 1);
    put(text, completion.tokens.data(), completion.tokens.size());
    put(text, completion.logprobs.data(), completion.logprobs.size());
  }
  return text;
}

std::vector<Completion> unpacked(const std::string& text) {
  std::vector<Completion> completions;
  for (const char* from = text.data(); from != text.data() + text.size();) {
    Head head{};
    take(from, &head, 1);
    const auto tokens = static_cast<std::size_t>(head.tokens);
    Completion& completion = completions.emplace_back();
    completion.prompt = head.prompt;
    completion.sibling = head.sibling;
    completion.end = head.end;
    completion.tokens.resize(tokens);
    completion.logprobs.resize(tokens);
    take(from, completion.tokens.data(), tokens);
    take(from, completion.logprobs.data(), tokens);
  }
  return completions;
}

}  // namespace

std::vector<std::vector<Completion>> gathered_completions(const std::vector<Completion>& mine, HostGroup& group) {
  if (group.size() == 1) return {mine};
  std::vector<std::vector<Completion>> all;
  for (const std::string& text : group.all_gather(packed(mine))) all.push_back(unpacked(text));
  return all;
}

}  // namespace athanor
