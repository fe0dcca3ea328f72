#include "io/dataset/conversation_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "io/dataset/bad_lines.hpp"
#include "io/dataset/jsonl_reader.hpp"
#include "src/base/error.hpp"
#include "src/reward/answer_extraction.hpp"

namespace athanor {
namespace {
using nlohmann::json;

[[noreturn]] void refuse(const std::string& place, const std::string& message) {
  throw ConfigError(place + ": " + message);
}

/// Null where the field is missing or null.
const json* find(const json& object, const std::string& name) {
  const auto field = object.find(name);
  return field == object.end() || field->is_null() ? nullptr : &*field;
}

/// Numbers count as texts only where `or_number`: references are often written as such. Empty where there is none.
std::string text_field(const json& object, const std::string& place, const std::string& name, bool or_number) {
  const json* field = find(object, name);
  if (field == nullptr) return "";
  if (field->is_string()) return field->get<std::string>();
  if (or_number && (field->is_number() || field->is_boolean())) return field->dump();
  refuse(place, fmt::format("{}: wanted a text, found {}", name, field->type_name()));
}

ChatMessage message_of(const json& item, const std::string& place, const std::string& name) {
  if (!item.is_object())
    refuse(place, fmt::format("{}: wanted {{\"role\", \"content\"}}, found {}", name, item.type_name()));
  ChatMessage message{text_field(item, place, "role", false), text_field(item, place, "content", false),
                      text_field(item, place, "reasoning_content", false)};
  return separate_reasoning(std::move(message));
}

void add_messages(const json& list, const std::string& place, const std::string& name,
                  std::vector<ChatMessage>& messages) {
  if (!list.is_array()) refuse(place, fmt::format("{}: wanted a list of messages, found {}", name, list.type_name()));
  for (std::size_t i = 0; i < list.size(); ++i)
    messages.push_back(message_of(list[i], place, fmt::format("{}[{}]", name, i)));
}

/// A text is one message of the role, a list all of its messages.
void add_side(const json& object, const std::string& place, const std::string& name, const char* role,
              std::vector<ChatMessage>& messages) {
  const json* field = find(object, name);
  if (field == nullptr) {
    std::string names;
    for (const auto& item : object.items()) names += (names.empty() ? "" : ", ") + item.key();
    refuse(place, fmt::format("no field named messages or {}; there are: {}", name, names));
  }
  if (field->is_array())
    add_messages(*field, place, name, messages);
  else
    messages.push_back(separate_reasoning({role, text_field(object, place, name, true)}));
}

void check_turns(const std::vector<ChatMessage>& messages, const std::string& place) {
  if (messages.empty()) refuse(place, "messages: the list is empty");
  bool asked = false;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content, reasoning] = messages[i];
    const std::string name = fmt::format("messages[{}]", i);
    if (role != "system" && role != "user" && role != "assistant")
      refuse(place, fmt::format("{}: role '{}' is not one of system, user, assistant", name, role));
    if (role == "system" && i > 0) refuse(place, name + ": the system's message has to be the first");
    if (role == "assistant" && !asked) refuse(place, name + ": the assistant answers before a user has asked");
    if (trimmed_text(content).empty() && role != "system")
      refuse(place, fmt::format("{}: the {} says nothing", name, role));
    if (!reasoning.empty() && role != "assistant")
      refuse(place, fmt::format("{}: reasoning_content of the {}; only an assistant reasons", name, role));
    asked = asked || role == "user";
  }
  if (messages.back().role != "assistant")
    refuse(place, fmt::format("the conversation ends with the turn of '{}': there is no answer to learn",
                              messages.back().role));
}

}  // namespace

Conversation parse_conversation(const json& object, const std::string& place, const ConversationOptions& options) {
  Conversation conversation;
  conversation.place = place;
  const bool has_messages = find(object, "messages") != nullptr;
  std::string completion = options.completion_field;
  if (completion.empty())
    completion =
        find(object, "completion") == nullptr && find(object, "response") != nullptr ? "response" : "completion";
  if (has_messages) {
    add_messages(object.at("messages"), place, "messages", conversation.messages);
  } else {
    add_side(object, place, options.prompt_field, "user", conversation.messages);
    add_side(object, place, completion, "assistant", conversation.messages);
  }
  check_turns(conversation.messages, place);
  // Where "answer" is the text that is learned, it is no reference beside it.
  if (has_messages || completion != "answer") conversation.answer = text_field(object, place, "answer", true);
  conversation.language = text_field(object, place, "language", false);
  conversation.task = text_field(object, place, "task", false);
  conversation.source = text_field(object, place, "source", false);
  if (const json* provenance = find(object, "provenance")) conversation.provenance = provenance->dump();
  return conversation;
}

void visit_conversations(const std::string& path, const ConversationOptions& options,
                         const std::function<void(Conversation&&)>& visit) {
  std::size_t good = 0;
  std::vector<std::string> bad;
  JsonlReader reader(path);
  for (json object;;) {
    Conversation conversation;
    try {
      if (!reader.next(object)) break;
      conversation = parse_conversation(object, reader.place(), options);
      if (options.refusal)
        if (const std::string refusal = options.refusal(conversation); !refusal.empty())
          refuse(reader.place(), refusal);
    } catch (const ConfigError& error) {
      bad.emplace_back(error.what());
      continue;
    }
    ++good;
    visit(std::move(conversation));
  }
  if (good == 0 && bad.empty()) throw ConfigError(path + ": no conversation in it");
  settle_bad_lines(path, good, bad, options.max_bad_share, options.report);
}

std::vector<Conversation> read_conversations(const std::string& path, const ConversationOptions& options) {
  std::vector<Conversation> conversations;
  visit_conversations(path, options,
                      [&](Conversation&& conversation) { conversations.push_back(std::move(conversation)); });
  return conversations;
}

nlohmann::ordered_json messages_json(std::span<const ChatMessage> messages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages) {
    nlohmann::ordered_json item{{"role", message.role}};
    if (!message.reasoning.empty()) item["reasoning_content"] = message.reasoning;
    item["content"] = message.content;
    list.push_back(std::move(item));
  }
  return list;
}

std::string conversation_line(const Conversation& conversation) {
  nlohmann::ordered_json line{{"messages", messages_json(conversation.messages)}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) line[name] = value;
  };
  add("answer", conversation.answer);
  add("language", conversation.language);
  add("task", conversation.task);
  add("source", conversation.source);
  if (!conversation.provenance.empty()) line["provenance"] = nlohmann::ordered_json::parse(conversation.provenance);
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace athanor
