// Names, units and help of section [reward_model].
#include "io/options/job_options.hpp"

namespace athanor {

void describe(OptionTable& table, RewardModelOptions& reward_model) {
  table.section("reward_model", "[reward_model] learning which answers are preferred: stages of kind reward_model");
  table.add_choice("loss", reward_model.pointwise, {{"pairwise", false}, {"pointwise", true}},
                   "pairwise: answers to a prompt are compared, all pairs of them (Bradley-Terry); pointwise: each is "
                   "good or bad (binary cross-entropy)");
  table.add("data", reward_model.data, "FILE|helpful(...)|safety(...)",
            "preferences: a .jsonl file (io/dataset/preference_file.hpp), or made by a rule: \"helpful(arithmetic, "
            "prompts=2000)\", \"safety(arithmetic, forbidden=darn)\" (src/task/preference_maker.hpp)");
  table.add("held_out", reward_model.held_out, "FILE|helpful(...)|safety(...)",
            "preferences to measure on; empty: a part of data that is not trained on");
  table.add("held_out_fraction", reward_model.held_out_fraction, "fraction", "of the prompts of a data file held out",
            kFraction);
  table.add("max_bad", reward_model.max_bad, "fraction", "of the lines of a file that may be unusable and are left out",
            kFraction);
  table.add("prompt_template", reward_model.prompt_template, "r1_zero|tags|marks|lines|r1|v3|chatml|llama3",
            "how prompts and answers are shown, as in rl.prompt_template");
  table.add_choice("reads", reward_model.reads_final, {{"final", true}, {"whole", false}},
                   "final: the answer without its reasoning (R1's helpful model); whole: all of it (its safety model)");
  table.add("epochs", reward_model.epochs, "epochs", "over the data; they decide the number of steps", kPositive);
  table.add("prompts_per_batch", reward_model.prompts_per_batch, "prompts", "with all their answers, in a step",
            kPositive);
  table.add("row_tokens", reward_model.row_tokens, "tokens",
            "of a row in which answers are packed; 0: data.sequence_length");
  table.add("rows_per_batch", reward_model.rows_per_batch, "rows",
            "of a micro-batch, which holds all answers of a prompt", kPositive);
  table.add("centering", reward_model.centering, "number",
            "pairwise: weight of the square of a pair's summed scores, which keeps scores near 0");
  table.add("margin", reward_model.margin, "number",
            "pairwise: by how much the better score is to lead, for each unit between the answers' given scores");
  table.add("centre_bias", reward_model.centre_bias,
            "pairwise: shift the bias in the end so that the best answers of the data score 0 on average");
}

}  // namespace athanor
