// Conversations as token ids: what a chat model is asked with, and what it is trained on. One piece does both, so that
// they cannot drift apart. Laws:
//  * Prefix: the tokens of prompt(messages without the last answer) are the first ones of training(messages).
//  * Special tokens are taken from the tokenizer by name; texts of messages are encoded as text alone, each by itself,
//    so nothing that a message says can forge a turn.
//  * Learned is what the assistant produces, its end token included; never the system's or the user's words, never the
//    opening of a turn.
//  * A system message comes first or not at all. A reasoning is what `reasoning` says, or what stands before the last
//    `</think>` of the content; line breaks around it do not count.
//
//   r1      bos {system} <User>{user} <Assistant><think>\n  learned: {reasoning}\n</think>\n\n{content}eos
//           Earlier answers are shown without their reasoning, and are not learned: the model never wrote them so.
//   v3      the same without <think>\n; learned: {content}eos, in every answer
//   chatml  <|im_start|>role\n{content}<|im_end|>\n ...; learned: {content}<|im_end|>
//   llama3  bos <|start_header_id|>role<|end_header_id|>\n\n{content}<|eot_id|> ...; learned: {content}<|eot_id|>
// v3, chatml and llama3 have no place for a reasoning: it is left out, as chat models of these layouts show no thought.
// Sources: DeepSeek-R1 and V3 chat templates (tokenizer_config.json; TRL's deepseekv3.jinja), Qwen's ChatML, Llama 3's
// model card. Unlike Qwen's, no system message is made up where there is none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/tokenizer.hpp"

namespace athanor {

struct ChatMessage {
  std::string role;         ///< "system", "user" or "assistant"
  std::string content;      ///< of an assistant that reasons: its summary
  std::string reasoning{};  ///< of an assistant, before its content; DeepSeek's API calls it reasoning_content
  friend bool operator==(const ChatMessage&, const ChatMessage&) = default;
};

enum class ChatLayout : std::uint8_t { r1, v3, chatml, llama3 };

/// An assistant's message with its reasoning taken out of its content, where that holds a `</think>`; others as they
/// are.
ChatMessage separate_reasoning(ChatMessage message);

/// What a completion of this layout shows when it is decoded: for r1 "{reasoning}\n</think>\n\n{content}", else the
/// content. The prompt of r1 holds the opening tag.
std::string answer_text(ChatLayout layout, const ChatMessage& message);

/// A rendered conversation. `learned[i]` is 1 where the model has to predict ids[i].
struct ChatTokens {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> learned;
};

class ChatTemplate {
 public:
  /// @param tokenizer  must outlive this. @throws ConfigError naming a special token that it has not and how to get it.
  ChatTemplate(ChatLayout layout, const Tokenizer& tokenizer);

  /// What the model answers behind: system, turns, the last user's, the opening of the answer.
  /// @throws ConfigError when the roles are in no order to be answered.
  std::vector<std::int32_t> prompt(std::span<const ChatMessage> messages) const;
  /// A whole conversation, which ends with an assistant's message. @throws ConfigError as prompt does.
  ChatTokens training(std::span<const ChatMessage> messages) const;
  /// As many renderings as it takes to learn every answer in the form it is produced in: for r1 one an answer, for the
  /// others one.
  std::vector<ChatTokens> trainings(std::span<const ChatMessage> messages) const;

  ChatLayout layout() const { return layout_; }
  /// The token that ends an answer.
  std::int32_t end_id() const { return end_; }

 private:
  void open(std::string_view role, ChatTokens& out) const;
  /// The opening of the answer that is asked for.
  void open_answer(ChatTokens& out) const;
  void add_history(std::span<const ChatMessage> messages, ChatTokens& out) const;
  void add_text(std::string_view text, bool learned, ChatTokens& out) const;
  void add_special(std::string_view name, bool learned, ChatTokens& out) const;
  bool is_deepseek() const { return layout_ == ChatLayout::r1 || layout_ == ChatLayout::v3; }

  const ChatLayout layout_;
  const Tokenizer& tokenizer_;
  std::int32_t end_ = -1;
};

}  // namespace athanor
