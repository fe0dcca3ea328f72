#include "jobs/commands/commands.hpp"

#include <array>

namespace athanor {

std::span<const Command> commands() {
  static constexpr std::array<Command, 12> kCommands{{
      {"run", "run a recipe: its stages in order, going on where it stopped", run_command},
      {"evaluate", "perplexity and bits per byte of a checkpoint on held-out text", evaluate_command},
      {"generate", "write text with a checkpoint", generate_command},
      {"score", "rewards of completions in a .jsonl file", score_command},
      {"report", "a run on one page: curves, results, completions", report_command},
      {"prepare", "turn text into a token file", prepare_command},
      {"tokenizer", "train a tokenizer, or look at one", tokenizer_command},
      {"inspect", "show a checkpoint, or the size of a model", inspect_command},
      {"plan", "what a layout needs: memory and messages of every pipeline rank", plan_command},
      {"schedule", "show, check and draw a pipeline schedule", schedule_command},
      {"doctor", "what a job would find on these machines", doctor_command},
      {"bench", "measure training, saving or generation against this machine's ceilings", bench_command},
  }};
  return kCommands;
}

}  // namespace athanor
