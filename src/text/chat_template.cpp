#include "src/text/chat_template.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>";

std::string_view name_of(ChatLayout layout) {
  switch (layout) {
    case ChatLayout::r1:
      return "r1";
    case ChatLayout::v3:
      return "v3";
    case ChatLayout::chatml:
      return "chatml";
    case ChatLayout::llama3:
      return "llama3";
  }
  return "?";
}

std::vector<std::string_view> tokens_of(ChatLayout layout) {
  switch (layout) {
    case ChatLayout::r1:
      return {"bos", "eos", "user", "assistant", "think", "end_think"};
    case ChatLayout::v3:
      return {"bos", "eos", "user", "assistant"};
    case ChatLayout::chatml:
      return {"im_start", "im_end"};
    case ChatLayout::llama3:
      return {"bos", "start_header", "end_header", "eot"};
  }
  return {};
}

std::string_view end_name(ChatLayout layout) {
  return layout == ChatLayout::chatml ? "im_end" : layout == ChatLayout::llama3 ? "eot" : "eos";
}

std::string_view without_outer_breaks(std::string_view text) {
  const std::size_t first = text.find_first_not_of("\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of("\r\n") - first + 1);
}

/// @param last  the role that the last message has to have.
void check_roles(std::span<const ChatMessage> messages, std::string_view last) {
  if (messages.empty()) throw ConfigError("conversation: it has no messages");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant")
      throw ConfigError(
          fmt::format("conversation: message {}: role '{}' is not one of system, user, assistant", i + 1, role));
    if (role == "system" && i > 0)
      throw ConfigError(fmt::format("conversation: message {} is the system's; it has to be the first", i + 1));
  }
  if (messages.back().role != last)
    throw ConfigError(
        fmt::format("conversation: it ends with a message of '{}'; wanted: of '{}'", messages.back().role, last));
}

}  // namespace

ChatMessage separate_reasoning(ChatMessage message) {
  if (message.role != "assistant") return message;
  const std::size_t end = message.content.rfind(kThinkEnd);
  if (end == std::string::npos) return message;
  std::string_view inside = std::string_view(message.content).substr(0, end);
  if (const std::size_t begin = inside.find(kThink); begin != std::string_view::npos)
    inside.remove_prefix(begin + kThink.size());
  if (message.reasoning.empty()) message.reasoning = without_outer_breaks(inside);
  const std::string_view rest = std::string_view(message.content).substr(end + kThinkEnd.size());
  const std::size_t first = rest.find_first_not_of("\r\n");
  message.content = first == std::string_view::npos ? std::string() : std::string(rest.substr(first));
  return message;
}

std::string answer_text(ChatLayout layout, const ChatMessage& message) {
  const ChatMessage separated = separate_reasoning(message);
  if (layout != ChatLayout::r1) return separated.content;
  return separated.reasoning + "\n</think>\n\n" + separated.content;
}

ChatTemplate::ChatTemplate(ChatLayout layout, const Tokenizer& tokenizer) : layout_(layout), tokenizer_(tokenizer) {
  for (const std::string_view name : tokens_of(layout))
    if (!tokenizer.has_special(name))
      throw ConfigError(
          fmt::format("chat layout {}: the {} tokenizer has no special token named {}; data.tokenizer = byte and bpe:N "
                      "have it, and so has every file that `athanor tokenizer train` writes now",
                      name_of(layout), tokenizer.kind(), name));
  end_ = tokenizer.special(end_name(layout));
}

void ChatTemplate::add_text(std::string_view text, bool learned, ChatTokens& out) const {
  tokenizer_.encode(text, out.ids);
  out.learned.resize(out.ids.size(), learned ? 1 : 0);
}

void ChatTemplate::add_special(std::string_view name, bool learned, ChatTokens& out) const {
  out.ids.push_back(tokenizer_.special(name));
  out.learned.push_back(learned ? 1 : 0);
}

void ChatTemplate::open(std::string_view role, ChatTokens& out) const {
  if (layout_ == ChatLayout::chatml) {
    add_special("im_start", false, out);
    add_text(std::string(role) + "\n", false, out);
  } else if (layout_ == ChatLayout::llama3) {
    add_special("start_header", false, out);
    add_text(role, false, out);
    add_special("end_header", false, out);
    add_text("\n\n", false, out);
  } else if (role != "system") {  // DeepSeek's system text stands alone
    add_special(role, false, out);
  }
}

void ChatTemplate::open_answer(ChatTokens& out) const {
  open("assistant", out);
  if (layout_ != ChatLayout::r1) return;
  add_special("think", false, out);
  add_text("\n", false, out);
}

void ChatTemplate::add_history(std::span<const ChatMessage> messages, ChatTokens& out) const {
  if (layout_ != ChatLayout::chatml) add_special("bos", false, out);
  for (const ChatMessage& given : messages) {
    const ChatMessage message = separate_reasoning(given);
    const bool answers = message.role == "assistant", learned = answers && layout_ != ChatLayout::r1;
    open(message.role, out);
    add_text(message.content, learned, out);
    if (answers || !is_deepseek()) add_special(end_name(layout_), learned, out);
    if (layout_ == ChatLayout::chatml) add_text("\n", false, out);
  }
}

std::vector<std::int32_t> ChatTemplate::prompt(std::span<const ChatMessage> messages) const {
  check_roles(messages, "user");
  ChatTokens out;
  add_history(messages, out);
  open_answer(out);
  return std::move(out.ids);
}

ChatTokens ChatTemplate::training(std::span<const ChatMessage> messages) const {
  check_roles(messages, "assistant");
  ChatTokens out;
  add_history(messages.first(messages.size() - 1), out);
  open_answer(out);
  const ChatMessage answer = separate_reasoning(messages.back());
  if (layout_ == ChatLayout::r1) {
    add_text(answer.reasoning + "\n", true, out);
    add_special("end_think", true, out);
    add_text("\n\n" + answer.content, true, out);
  } else {
    add_text(answer.content, true, out);
  }
  add_special(end_name(layout_), true, out);
  return out;
}

std::vector<ChatTokens> ChatTemplate::trainings(std::span<const ChatMessage> messages) const {
  std::vector<ChatTokens> all;
  if (layout_ == ChatLayout::r1)
    for (std::size_t i = 0; i + 1 < messages.size(); ++i)
      if (messages[i].role == "assistant") all.push_back(training(messages.first(i + 1)));
  all.push_back(training(messages));
  return all;
}

}  // namespace athanor
