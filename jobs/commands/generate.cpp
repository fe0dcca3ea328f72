// athanor generate CHECKPOINT --prompt=TEXT
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>

#include "io/checkpoint/checkpoint_reader.hpp"
#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/expert_placements.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/loaded_model.hpp"
#include "jobs/rollout_room.hpp"
#include "src/base/error.hpp"
#include "src/task/prompt_template.hpp"

namespace athanor {

int generate_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string checkpoint, prompt, layout, system, placement;
  RolloutOptions options;
  options.max_new_tokens = 256;
  options.seed = 1;
  options.sampling.temperature = 0.8;
  JobOptions job;
  OptionTable own;
  own.section("", "generate");
  own.add("checkpoint", checkpoint, "FOLDER", "a checkpoint, a stage or a run folder (also the first word)");
  own.add("prompt", prompt, "text", "to go on from; empty: the beginning of a document");
  own.add("layout", layout, "r1|v3|chatml|llama3",
          "of a chat model: the prompt is what a user says, and the answer alone is shown; empty: text goes on");
  own.add("system", system, "text", "the system's message of a layout; empty: none");
  own.add("max_new_tokens", options.max_new_tokens, "tokens", "to write at most", kPositive);
  own.add("samples", options.group_size, "number", "texts to write", kPositive);
  own.add("seed", options.seed, "number", "of the sampling");
  describe_sampler(own, options.sampling, "0: always the likeliest token");
  own.add("placement", placement, "FILE", "experts placed by load, as `evaluate --balance_experts` wrote it");
  OptionTable all;
  describe(all, job.run);
  describe(all, job.parallel);
  const Invocation invocation = parse_invocation(words, {{&own, &all}, "checkpoint"});
  if (invocation.help) {
    if (world.rank() == 0) fmt::print("athanor generate FOLDER [--prompt=TEXT]...\n\n{}\n{}", own.help(), all.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  if (checkpoint.empty()) throw ConfigError("generate: no checkpoint is given; write `athanor generate FOLDER`");
  const JobOptions given = configuration.job();
  ExpertPlacements placements;
  if (!placement.empty())
    placements = read_placements(
        placement, given.parallel.ep,
        options_of_checkpoint(CheckpointReader(find_checkpoint(checkpoint)).state()).model.num_routed_experts);
  const LoadedModel loaded(checkpoint, given.run, given.parallel, world, std::move(placements));
  Environment& env = *loaded.environment;
  const std::int32_t eos = loaded.tokenizer->eos_id();
  options.stop_ids = {eos};
  RolloutPrompt begun;
  if (layout.empty()) {
    if (!system.empty()) throw ConfigError("generate: --system needs --layout: text has no turns");
    // Documents follow each other in training with an eos between them, so one begins behind an eos.
    begun.tokens = loaded.tokenizer->encode(prompt);
    if (begun.tokens.empty()) begun.tokens.push_back(eos);
  } else {
    const auto chat_layout = chat_layout_of(parse_prompt_template(layout));
    if (!chat_layout) throw ConfigError("generate: --layout=" + layout + " is not one of r1, v3, chatml, llama3");
    const ChatTemplate chat(*chat_layout, *loaded.tokenizer);
    std::vector<ChatMessage> messages;
    if (!system.empty()) messages.push_back({"system", system});
    messages.push_back({"user", prompt});
    begun.tokens = chat.prompt(messages);
    options.stop_ids.push_back(chat.end_id());
  }
  const auto room = static_cast<std::int64_t>(begun.tokens.size()) + options.max_new_tokens;
  RolloutEngine engine(*env.ops, *loaded.model, *env.mesh, rollout_room(given, options.group_size, room),
                       loaded.tokenizer.get(), *env.compute);
  const auto begin = std::chrono::steady_clock::now();
  const auto samples = engine.generate(std::span(&begun, 1), options);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (world.rank() != 0) return kExitComplete;
  std::size_t made = 0;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    if (samples.size() > 1) fmt::print("=== sample {}\n", s + 1);
    const auto& tokens = samples[s].tokens;
    made += tokens.size();
    fmt::print("{}{}\n", layout.empty() ? prompt : "", loaded.tokenizer->decode(tokens, false));
  }
  std::fflush(stdout);
  spdlog::info("{} tokens in {:.2f} s: {:.0f} tokens/s ({})", made, seconds, static_cast<double>(made) / seconds,
               loaded.checkpoint.string());
  return kExitComplete;
}

}  // namespace athanor
