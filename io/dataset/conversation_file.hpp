// Conversations to be learned from, from .jsonl files (plain or gzip). A line is one of
//   {"messages": [{"role", "content", "reasoning_content"?}, ...]}    roles system (first), user, assistant (last)
//   {"prompt": ..., "completion": ...}                                texts, or lists of messages; also "response"
// with other names of the two fields on request ("question", "answer"). Kept where given: answer, language, task,
// source, provenance; other fields are left alone. Law: a line that cannot be used is reported with file and line,
// counted, and left out up to a stated share; above it nothing of the file is used.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "src/text/chat_template.hpp"

namespace athanor {

struct Conversation {
  std::vector<ChatMessage>
      messages;  ///< begins with the system or the user, ends with an assistant's that says something
  std::string answer, language, task, source;
  std::string provenance{};  ///< the object as JSON text; empty: none
  std::string place{};       ///< "file: line 3"
};

struct ConversationOptions {
  /// Of the line's fields, where it has no "messages"; empty completion: "completion", else "response".
  std::string prompt_field = "prompt", completion_field{};
  double max_bad_share = 0.01;  ///< of the lines
  /// Why a conversation that could be read cannot be used ("the rendering has 9000 tokens, ..."); empty: it can.
  std::function<std::string(const Conversation&)> refusal{};
  /// Told of each line that is left out: "file: line 3: ...".
  std::function<void(const std::string&)> report{};
};

/// One line. @param place  "file: line 3", begins every message. @throws ConfigError
Conversation parse_conversation(const nlohmann::json& object, const std::string& place,
                                const ConversationOptions& options = {});

/// All conversations of a file, in order, one at a time. @throws ConfigError when there is no such file, it has no
/// line, or, behind the last one, where too many were bad.
void visit_conversations(const std::string& path, const ConversationOptions& options,
                         const std::function<void(Conversation&&)>& visit);
/// All of them at once, in memory.
std::vector<Conversation> read_conversations(const std::string& path, const ConversationOptions& options = {});

/// "messages" of a line.
nlohmann::ordered_json messages_json(std::span<const ChatMessage> messages);
/// The line that is read back as the same conversation, without a line break. `place` is not written.
std::string conversation_line(const Conversation& conversation);

}  // namespace athanor
