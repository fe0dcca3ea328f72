// Names, units and help of the sections [sft] and [distill].
#include "io/options/job_options.hpp"

namespace athanor {

void describe(OptionTable& table, SftOptions& sft) {
  table.section("sft", "[sft] conversations to learn from (kinds sft and distill)");
  table.add("data", sft.data, "source",
            "FILE.jsonl[.gz] (messages, or prompt and completion), stage:NAME (what a rejection_sampling stage kept), "
            "generated:chats(TASKS, ...), generated:polite(TASKS; count=200), generated:greetings(count=200). May be "
            "repeated");
  table.add("layout", sft.layout, "r1|v3|chatml|llama3", "how turns are laid out in tokens; answers alone are learned");
  table.add("prompt_field", sft.prompt_field, "name", "of the question in a line without messages");
  table.add("completion_field", sft.completion_field, "name", "of the answer; empty: completion, else response");
  table.add("epochs", sft.epochs, "epochs", "over the conversations; 0: as many as run.steps take");
  table.add("held_out_fraction", sft.held_out_fraction, "fraction",
            "of the conversations kept for measuring, never trained on", kFraction);
  table.add(
      "max_bad_share", sft.max_bad_share, "fraction",
      "of a file's lines that may be unusable: up to it they are named and left out, above it the run ends before "
      "it begins",
      kFraction);
}

void describe(OptionTable& table, DistillOptions& distill) {
  table.section("distill", "[distill] a teacher beside the conversations (kind distill)");
  table.add("teacher", distill.teacher, "stage|folder",
            "whose next-token distribution the student is drawn to; empty: the student learns the conversations alone, "
            "as R1's students did");
  table.add_choice("divergence", distill.reverse, {{"forward", false}, {"reverse", true}},
                   "forward: KL(teacher || student), covers all the teacher does; reverse: KL(student || teacher), "
                   "keeps to what it does mostly");
  table.add("temperature", distill.temperature, "number", "of both distributions");
  table.add("hard_weight", distill.hard_weight, "fraction",
            "of the loss on the conversations' own tokens; the rest is the divergence", kFraction);
  table.add("on_policy", distill.on_policy, "fraction",
            "of each batch whose answers the student writes itself, the teacher correcting them token by token",
            kFraction);
  table.add("max_new_tokens", distill.max_new_tokens, "tokens", "of an answer the student writes", kPositive);
}

}  // namespace athanor
