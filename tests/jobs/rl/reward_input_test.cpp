// What a reward model reads: the same tokens of a written answer and of a policy's completion, the final part or all.
#include "jobs/rl/reward_input.hpp"

#include <gtest/gtest.h>

#include "src/text/byte_tokenizer.hpp"

namespace athanor {
namespace {

const ByteTokenizer kTokenizer;

Problem sum() {
  Problem problem;
  problem.prompt = "2+2";
  return problem;
}

std::string shown(const ScoredSequence& sequence) {
  return kTokenizer.decode(sequence.prompt) + "|" + kTokenizer.decode(sequence.completion);
}

// Promise: by hand in the short template, with and without the reasoning, and the end token behind it.
TEST(RewardInput, ShortTemplateByHand) {
  const std::string end = kTokenizer.decode(std::vector<std::int32_t>{kTokenizer.eos_id()});
  const RewardInput whole(PromptTemplate::marks, RewardReads::whole, false, kTokenizer);
  const RewardInput final(PromptTemplate::marks, RewardReads::final, true, kTokenizer);
  EXPECT_EQ(shown(whole.sequence(sum(), "(2+2=4)>4")), "?2+2=|(2+2=4)>4" + end);
  EXPECT_EQ(shown(final.sequence(sum(), "(2+2=4)>4")), end + "?2+2=|>4" + end);
  EXPECT_EQ(shown(final.sequence(sum(), ">4")), end + "?2+2=|>4" + end);
}

// Promise: in every template an answer of the data reads as the completion in which a policy says it; the final part
// has nothing of the reasoning, and r1's prompt then opens none.
TEST(RewardInput, SameAsThePolicyWritesIt) {
  const PreferredAnswer answer{"4", "two and two"};
  for (const PromptTemplate form : {PromptTemplate::r1_zero, PromptTemplate::tags, PromptTemplate::marks,
                                    PromptTemplate::r1, PromptTemplate::v3, PromptTemplate::chatml})
    for (const RewardReads reads : {RewardReads::final, RewardReads::whole}) {
      const RewardInput input(form, reads, false, kTokenizer);
      const auto layout = chat_layout_of(form);
      const std::string completion = layout ? answer_text(*layout, {"assistant", answer.content, answer.reasoning})
                                            : render_completion(form, {answer.reasoning, answer.content});
      const ScoredSequence written = input.sequence(sum(), answer), said = input.sequence(sum(), completion);
      EXPECT_EQ(written.prompt, said.prompt) << static_cast<int>(form);
      EXPECT_EQ(written.completion, said.completion) << static_cast<int>(form);
      const bool reasons = shown(written).find("two and two") != std::string::npos;
      const bool has_place = form != PromptTemplate::v3 && form != PromptTemplate::chatml;
      EXPECT_EQ(reasons, reads == RewardReads::whole && has_place) << static_cast<int>(form);
      if (form == PromptTemplate::r1) {
        EXPECT_EQ(shown(written).find("<think>") != std::string::npos, reads == RewardReads::whole);
      }
    }
  // A completion of another template is taken apart and said in this one.
  const RewardInput final(PromptTemplate::v3, RewardReads::final, false, kTokenizer);
  EXPECT_EQ(final.sequence(sum(), "two and two\n</think>\n\n4").completion,
            final.sequence(sum(), "(two)>4").completion);
  // A reasoning that never ends is no answer, whatever it says.
  EXPECT_EQ(final.sequence(sum(), "two and two is 4", true).completion,
            final.sequence(sum(), "the answer is 5", true).completion);
  EXPECT_NE(final.sequence(sum(), "two and two is 4").completion, final.sequence(sum(), "the answer is 5").completion);
}

}  // namespace
}  // namespace athanor
