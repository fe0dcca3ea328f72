// Chat layouts: the published forms to the token, what is learned, prompts as beginnings of training, and forgery.
#include "src/text/chat_template.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "src/base/error.hpp"
#include "src/text/bpe_trainer.hpp"
#include "src/text/byte_tokenizer.hpp"

namespace athanor {
namespace {

constexpr std::array kLayouts{ChatLayout::r1, ChatLayout::v3, ChatLayout::chatml, ChatLayout::llama3};

const std::vector<ChatMessage> kChat{{"system", "Be brief."},
                                     {"user", "2+2?"},
                                     {"assistant", "The answer is 4.", "2+2=4."},
                                     {"user", "And 3+3?"},
                                     {"assistant", "The answer is 6.", "3+3=6."}};

std::string text_of(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) { return tokenizer.decode(ids); }

/// The learned tokens as text, "|" where tokens between are not learned.
std::string learned_text(const Tokenizer& tokenizer, const ChatTokens& tokens) {
  std::string text;
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
    if (tokens.learned[i] != 0) text += tokenizer.decode(std::span(tokens.ids).subspan(i, 1));
    if (tokens.learned[i] == 0 && i > 0 && tokens.learned[i - 1] != 0) text += "|";
  }
  return text;
}

std::unique_ptr<Tokenizer> trained_tokenizer() {
  BpeTrainer trainer({.vocab_size = 290});
  trainer.add("The answer is 4. The answer is 6. user\nassistant\n\n2+2=4.\n");
  trainer.add("The answer is 4. The answer is 6. user\nassistant\n\n2+2=4.\n");
  return trainer.train();
}

// Every layout is the published one, system, earlier turns and generation prompt; r1 opens the reasoning and shows
// earlier answers without theirs.
TEST(ChatTemplate, RendersThePublishedPrompts) {
  const ByteTokenizer tokenizer;
  const std::span<const ChatMessage> asked = std::span(kChat).first(4);
  const auto prompt = [&](ChatLayout layout) {
    return text_of(tokenizer, ChatTemplate(layout, tokenizer).prompt(asked));
  };

  EXPECT_EQ(prompt(ChatLayout::r1),
            "<｜begin▁of▁sentence｜>Be brief.<｜User｜>2+2?<｜Assistant｜>The answer is 4.<｜end▁of▁sentence｜>"
            "<｜User｜>And 3+3?<｜Assistant｜><think>\n");
  EXPECT_EQ(prompt(ChatLayout::v3),
            "<｜begin▁of▁sentence｜>Be brief.<｜User｜>2+2?<｜Assistant｜>The answer is 4.<｜end▁of▁sentence｜>"
            "<｜User｜>And 3+3?<｜Assistant｜>");
  EXPECT_EQ(prompt(ChatLayout::chatml),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
            "<|im_start|>assistant\nThe answer is 4.<|im_end|>\n<|im_start|>user\nAnd 3+3?<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(prompt(ChatLayout::llama3),
            "<｜begin▁of▁sentence｜><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nThe answer is 4.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nAnd 3+3?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

// Only what the assistant produces is learned, its end token included; in r1 the last answer with its reasoning, and
// each earlier one in a rendering of its own.
TEST(ChatTemplate, LearnsTheAssistantsWordsAlone) {
  const ByteTokenizer tokenizer;
  const auto learned = [&](ChatLayout layout) {
    std::string text;
    for (const ChatTokens& tokens : ChatTemplate(layout, tokenizer).trainings(kChat))
      text += "[" + learned_text(tokenizer, tokens) + "]";
    return text;
  };
  EXPECT_EQ(learned(ChatLayout::r1),
            "[2+2=4.\n</think>\n\nThe answer is 4.<｜end▁of▁sentence｜>]"
            "[3+3=6.\n</think>\n\nThe answer is 6.<｜end▁of▁sentence｜>]");
  EXPECT_EQ(learned(ChatLayout::v3), "[The answer is 4.<｜end▁of▁sentence｜>|The answer is 6.<｜end▁of▁sentence｜>]");
  EXPECT_EQ(learned(ChatLayout::chatml), "[The answer is 4.<|im_end|>|The answer is 6.<|im_end|>]");
  EXPECT_EQ(learned(ChatLayout::llama3), "[The answer is 4.<|eot_id|>|The answer is 6.<|eot_id|>]");
}

// The prompt is, token for token, how the training rendering begins, and all that follows is learned: for bytes and for
// merges, with and without system, reasoning and earlier turns, whatever blanks and breaks the texts begin and end
// with.
TEST(ChatTemplate, PromptsArePrefixesOfTraining) {
  const ByteTokenizer bytes;
  const auto merges = trained_tokenizer();
  const std::vector<std::vector<ChatMessage>> chats{
      kChat,
      {kChat.begin() + 1, kChat.begin() + 3},
      {{"user", " \n hi\n\n"}, {"assistant", "\n\n yes \n", "\nwhy\n\n"}},
      {{"user", "hi"}, {"assistant", "<think>\nno\n</think>\n\nyes"}},
      {{"user", "你好"}, {"assistant", "好。"}, {"user", "2+2？"}, {"assistant", "答案是4。", "先算2+2=4。"}}};
  for (const Tokenizer* tokenizer :
       {static_cast<const Tokenizer*>(&bytes), static_cast<const Tokenizer*>(merges.get())})
    for (const ChatLayout layout : kLayouts)
      for (const auto& chat : chats) {
        const ChatTemplate form(layout, *tokenizer);
        const auto prompt = form.prompt(std::span(chat).first(chat.size() - 1));
        const ChatTokens training = form.training(chat);
        ASSERT_EQ(training.ids.size(), training.learned.size());
        ASSERT_LT(prompt.size(), training.ids.size());
        EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), training.ids.begin()));
        EXPECT_EQ(training.learned[prompt.size() - 1], 0);
        for (std::size_t i = prompt.size(); i < training.ids.size(); ++i) EXPECT_EQ(training.learned[i], 1);
        EXPECT_EQ(training.ids.back(), form.end_id());
        const auto answer = std::span(training.ids).subspan(prompt.size());
        EXPECT_EQ(tokenizer->decode(answer, false), answer_text(layout, chat.back()));
      }
}

// Texts of special tokens inside messages stay text: the only special tokens are those of the layout.
TEST(ChatTemplate, MessagesForgeNoTurns) {
  const ByteTokenizer tokenizer;
  for (const ChatLayout layout : kLayouts) {
    const ChatTemplate form(layout, tokenizer);
    const auto specials = [&](const std::string& said) {
      const auto ids = form.prompt(std::vector<ChatMessage>{{"system", said}, {"user", said}});
      return std::count_if(ids.begin(), ids.end(), [&](std::int32_t id) { return tokenizer.is_special(id); });
    };
    std::string forged;
    for (const SpecialToken& token : tokenizer.special_tokens()) forged += token.text;
    EXPECT_EQ(specials(forged), specials("hi"));
  }
}

// A reasoning may stand inside the content, as people write it down: it is the same conversation.
TEST(ChatTemplate, SeparatesTheReasoning) {
  EXPECT_EQ(separate_reasoning({"assistant", "<think>\na</think> b\n</think>\n\nc"}),
            (ChatMessage{"assistant", "c", "a</think> b"}));
  EXPECT_EQ(separate_reasoning({"assistant", "a\n</think>\n\nc"}), (ChatMessage{"assistant", "c", "a"}));
  EXPECT_EQ(separate_reasoning({"user", "</think>"}), (ChatMessage{"user", "</think>"}));
  EXPECT_EQ(answer_text(ChatLayout::r1, {"assistant", "c", "a"}), "a\n</think>\n\nc");
  EXPECT_EQ(answer_text(ChatLayout::chatml, {"assistant", "c", "a"}), "c");
}

// A tokenizer without a token of the layout is refused, with the token's name and the way to get it.
TEST(ChatTemplate, NamesTheMissingToken) {
  BpeTrainer trainer({.vocab_size = 258, .special_tokens = {{"bos", "<b>"}, {"eos", "<e>"}}});
  const auto tokenizer = trainer.train();
  try {
    ChatTemplate(ChatLayout::chatml, *tokenizer);
    FAIL();
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("chatml"), std::string::npos) << message;
    EXPECT_NE(message.find("no special token named im_start"), std::string::npos) << message;
    EXPECT_NE(message.find("tokenizer train"), std::string::npos) << message;
  }
}

// Roles in no order to be answered are refused.
TEST(ChatTemplate, RefusesImpossibleConversations) {
  const ByteTokenizer tokenizer;
  const ChatTemplate form(ChatLayout::r1, tokenizer);
  using Messages = std::vector<ChatMessage>;
  EXPECT_THROW(form.prompt(Messages{}), ConfigError);
  EXPECT_THROW(form.prompt(Messages{{"user", "a"}, {"assistant", "b"}}), ConfigError);
  EXPECT_THROW(form.prompt(Messages{{"user", "a"}, {"system", "b"}, {"user", "c"}}), ConfigError);
  EXPECT_THROW(form.prompt(Messages{{"tool", "a"}, {"user", "c"}}), ConfigError);
  EXPECT_THROW(form.training(Messages{{"user", "a"}}), ConfigError);
}

}  // namespace
}  // namespace athanor
