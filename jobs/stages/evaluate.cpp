#include "jobs/stages/evaluate.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/checkpoint/durable.hpp"
#include "io/metrics/metrics.hpp"
#include "jobs/evaluation.hpp"
#include "jobs/inference_model.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/rl/benchmark.hpp"
#include "jobs/rl/benchmark_summary.hpp"
#include "jobs/rl/reward_models.hpp"
#include "jobs/training_data.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

/// A benchmark and what it asks, before anything is computed.
struct PlannedBenchmark {
  std::string name, spec;
  std::unique_ptr<ProblemScorer> scorer;
  BenchmarkOptions options;
};

/// Reads the files. @throws ConfigError for everything that can be refused without a mesh.
std::vector<PlannedBenchmark> plan_benchmarks(const JobOptions& options, const Tokenizer& tokenizer, bool logs) {
  const EvaluateOptions& evaluate = options.evaluate;
  std::vector<PlannedBenchmark> plan;
  if (evaluate.benchmarks.empty()) return plan;
  const std::int64_t max_new_tokens = evaluate.max_new_tokens > 0 ? evaluate.max_new_tokens : options.rl.max_new_tokens;
  const std::int64_t room = prompt_room(options, tokenizer, max_new_tokens, "evaluate.max_new_tokens");
  for (const NamedSpec& spec : parse_named_specs(evaluate.benchmarks, "benchmark")) {
    if (spec.weight != 1.0)
      throw ConfigError("benchmark '" + spec.text + "': each is measured by itself, so it has no weight");
    PlannedBenchmark planned;
    planned.name = planned.spec = spec.text;
    planned.scorer =
        std::make_unique<ProblemScorer>(ProblemScorerOptions{.tasks = spec.text,
                                                             .rewards = split_rewards(evaluate.rewards).rules,
                                                             .program_limits = options.rl.rewards,
                                                             .prompt_template = options.rl.prompt_template,
                                                             .behind_eos = !options.data.isolate_documents,
                                                             .max_prompt_tokens = room,
                                                             .is_benchmark = true,
                                                             .logs = logs},
                                        tokenizer);
    const auto in_file = planned.scorer->tasks().num_problems(Split::held_out);
    if (in_file) planned.name = planned.scorer->problem(options.run.seed, 0, Split::held_out).task;
    for (const PlannedBenchmark& other : plan)
      if (other.name == planned.name)
        throw ConfigError("evaluate.benchmarks: two are named " + planned.name + "; give one another name=");
    const std::int64_t most = in_file.value_or(evaluate.problems > 0 ? evaluate.problems : kGeneratedProblems);
    BenchmarkOptions& benchmark = planned.options;
    benchmark.problems = {options.run.seed, 0, evaluate.problems > 0 ? std::min(evaluate.problems, most) : most,
                          Split::held_out};
    benchmark.sampling.sampling = evaluate.sampler;
    benchmark.sampling.max_new_tokens = max_new_tokens;
    benchmark.sampling.group_size = evaluate.samples;
    benchmark.sampling.seed = options.run.seed + stable_hash(planned.name);
    benchmark.num_shown = evaluate.samples_shown;
    for (const RewardSet::Member& member : planned.scorer->rewards().members())
      benchmark.reward_names.push_back(member.name);
    for (const LearnedRewardSpec& reward : split_rewards(evaluate.rewards).learned)
      benchmark.reward_names.push_back(reward.name);
    plan.push_back(std::move(planned));
  }
  return plan;
}

/// Tokens of the longest prompt and its completion, over all ranks and benchmarks. Collective.
std::int64_t longest_sequence(const StageContext& context, std::span<const PlannedBenchmark> plan) {
  std::int64_t longest = 0;
  for (const PlannedBenchmark& planned : plan) {
    context.world.check_same("the problems of " + planned.spec, planned.scorer->tasks().fingerprint());
    longest = std::max(longest, longest_prompt(*context.environment.mesh, *planned.scorer, planned.options.problems) +
                                    planned.options.sampling.max_new_tokens);
  }
  if (longest > context.options.model.max_positions)
    throw ConfigError(
        fmt::format("evaluate.benchmarks: a prompt and its completion may have {} tokens, more than "
                    "model.max_positions = {}; lower evaluate.max_new_tokens",
                    longest, context.options.model.max_positions));
  return longest;
}

EvaluationResult measure_text(const StageContext& context, MeshModel& model, const TrainingData& data) {
  Evaluator evaluator(context.environment, model, *data.held_out, context.options, data.tokenizer->eos_id());
  const EvaluationResult result = evaluator.run([&] {
    if (context.stop.agreed(context.world))
      throw Interrupted("stopped by " + context.stop.reason() + ": the measurement is given up");
  });
  spdlog::info("{}: {} tokens, loss {:.4f} nats a token, perplexity {:.3f}, {:.4f} bits a byte", context.name,
               result.tokens, result.loss, result.perplexity, result.bits_per_byte);
  return result;
}

BenchmarkResult measure_problems(const StageContext& context, const PlannedBenchmark& planned, RolloutEngine& engine) {
  const BenchmarkResult result = run_benchmark(*context.environment.mesh, *planned.scorer, engine, planned.options);
  spdlog::info(
      "{}: {}: pass@1 {:.3f} +- {:.3f}, pass@{} {:.3f}, maj@{} {:.3f}; {:.1f} tokens, {:.0f} % cut short, {:.0f} % "
      "well formed ({} problems, {:.1f} s, {:.0f} tokens/s)",
      context.name, planned.name, result.pass_at_1.value, result.pass_at_1.error, result.samples,
      result.pass_at_samples().value, result.samples, result.majority.value, result.length, 100.0 * result.truncated,
      100.0 * result.well_formed, result.problems, result.seconds, result.tokens_per_second);
  return result;
}

/// The same for TensorBoard, where it is asked for.
void write_events(const StageContext& context, const std::optional<EvaluationResult>& text,
                  std::span<const NamedBenchmark> benchmarks) {
  if (context.event_folder().empty()) return;
  EventFile events(context.event_folder(), 0);
  if (text)
    events.write(0, std::array<Scalar, 3>{{{"held_out/loss", text->loss},
                                           {"held_out/perplexity", text->perplexity},
                                           {"held_out/bits_per_byte", text->bits_per_byte}}});
  for (const auto& [name, spec, result] : benchmarks) {
    const std::array<std::string, 3> names{name + "/pass@1", name + "/maj@k", name + "/completion_length"};
    events.write(
        0, std::array<Scalar, 3>{
               {{names[0], result.pass_at_1.value}, {names[1], result.majority.value}, {names[2], result.length}}});
    int number = 0;
    for (const ShownCompletion& shown : result.shown)
      events.write_text(
          0, fmt::format("{}/completion {}", name, number++),
          completion_markdown(shown.prompt, shown.completion,
                              fmt::format("{}, answer `{}`", shown.right ? "right" : "wrong", shown.answer)));
  }
}

/// Rank 0 writes the stage's own files.
void write_results(const StageContext& context, const std::optional<EvaluationResult>& text,
                   std::span<const NamedBenchmark> benchmarks) {
  if (context.world.rank() != 0) return;
  const auto folder = context.folder.stage(context.name);
  std::filesystem::create_directories(folder);
  nlohmann::ordered_json summary{{"stage", context.name}};
  std::string tables, samples;
  if (text) {
    summary["held_out_text"] = {{"loss", text->loss},
                                {"perplexity", text->perplexity},
                                {"bits_per_byte", text->bits_per_byte},
                                {"tokens", text->tokens}};
    const std::vector<std::vector<std::string>> rows{
        {"held-out text", "loss", "perplexity", "bits a byte"},
        {fmt::format("{} tokens", text->tokens), fmt::format("{:.4f}", text->loss),
         fmt::format("{:.4f}", text->perplexity), fmt::format("{:.4f}", text->bits_per_byte)}};
    tables += markdown_table(rows);
  }
  if (!benchmarks.empty()) {
    const EvaluateOptions& evaluate = context.options.evaluate;
    summary["sampling"] = {
        {"samples", evaluate.samples},
        {"temperature", evaluate.sampler.temperature},
        {"top_p", evaluate.sampler.top_p},
        {"top_k", evaluate.sampler.top_k},
        {"min_p", evaluate.sampler.min_p},
        {"max_new_tokens", evaluate.max_new_tokens > 0 ? evaluate.max_new_tokens : context.options.rl.max_new_tokens},
        {"prompt_template", context.options.rl.prompt_template},
        {"seed", context.options.run.seed}};
    summary["benchmarks"] = nlohmann::ordered_json::array();
    for (const NamedBenchmark& benchmark : benchmarks) {
      summary["benchmarks"].push_back(benchmark_json(benchmark));
      for (const ShownCompletion& shown : benchmark.result.shown)
        samples += nlohmann::ordered_json({{"stage", context.name},
                                           {"benchmark", benchmark.name},
                                           {"problem", shown.problem},
                                           {"prompt", shown.prompt},
                                           {"completion", shown.completion},
                                           {"answer", shown.answer},
                                           {"right", shown.right}})
                       .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                   "\n";
    }
    tables += (tables.empty() ? "" : "\n") + benchmark_table(benchmarks) +
              fmt::format(
                  "\n± one standard error over problems ({} bootstrap resamples); {} completions of each, "
                  "temperature {:g}, top-p {:g}.\n",
                  kBootstrapResamples, evaluate.samples, evaluate.sampler.temperature, evaluate.sampler.top_p);
    replace_text_file(folder / "samples.jsonl", samples);
  }
  write_events(context, text, benchmarks);
  replace_text_file(folder / "summary.json", summary.dump(2) + "\n");
  replace_text_file(folder / "summary.md", tables);
}

StageStatus measure_all(StageContext& context) {
  const JobOptions& options = context.options;
  const TrainingData data =
      open_training_data(options.data, options.run.seed, context.folder.stage(context.name) / "data", false,
                         context.world, [](const std::string&, const PrepareProgress&) {});
  std::vector<PlannedBenchmark> plan = plan_benchmarks(options, *data.tokenizer, true);
  if (!data.held_out && plan.empty())
    throw ConfigError("stage " + context.name +
                      ": nothing to evaluate on; set evaluate.benchmarks, data.held_out, or data.train with "
                      "data.held_out_fraction");
  const std::int64_t longest = longest_sequence(context, plan);
  InferenceModel inference(context);

  const CollectiveLog::InPhase phase(context.world.log(), JobPhase::evaluation);
  std::optional<EvaluationResult> text;
  if (data.held_out) {
    text = measure_text(context, inference.model(), data);
    context.summary = {{"held-out loss", fmt::format("{:.4f}", text->loss)},
                       {"perplexity", fmt::format("{:.3f}", text->perplexity)},
                       {"bits per byte", fmt::format("{:.4f}", text->bits_per_byte)},
                       {"tokens", std::to_string(text->tokens)}};
  }
  std::vector<NamedBenchmark> results;
  std::unique_ptr<RolloutEngine> engine;
  if (!plan.empty()) engine = inference.make_engine(options.evaluate.samples, longest, *data.tokenizer);
  RewardModels models(context.environment, options, *data.tokenizer,
                      [&](const std::string& name) { return named_checkpoint(context, name); });
  const auto learned = split_rewards(options.evaluate.rewards).learned;
  for (PlannedBenchmark& planned : plan) {
    if (context.stop.agreed(context.world)) return StageStatus::interrupted;
    if (!learned.empty())
      planned.options.add_scores = [&](const DrawnProblems& drawn, ScoredGroups& scored) {
        models.add_scores(learned, drawn, options.evaluate.samples, scored);
      };
    results.push_back({planned.name, planned.spec, measure_problems(context, planned, *engine)});
    const BenchmarkResult& result = results.back().result;
    context.summary[planned.name + " pass@1"] =
        fmt::format("{:.4f} ± {:.4f}", result.pass_at_1.value, result.pass_at_1.error);
    context.summary[fmt::format("{} maj@{}", planned.name, result.samples)] =
        fmt::format("{:.4f}", result.majority.value);
    context.summary[planned.name + " tokens"] = fmt::format("{:.1f}", result.length);
    if (result.language_consistency)
      context.summary[planned.name + " language"] = fmt::format("{:.4f}", *result.language_consistency);
    for (const auto& [name, mean] : result.rewards)
      context.summary[planned.name + " " + name] = fmt::format("{:.4f}", mean);
  }
  write_results(context, text, results);
  return StageStatus::complete;
}

}  // namespace

void EvaluateStage::check(const JobOptions& options) const {
  (void)plan_benchmarks(options, *load_tokenizer(options.data.tokenizer), false);
}

StageStatus EvaluateStage::run(StageContext& context) {
  try {
    return measure_all(context);
  } catch (const Interrupted& stop) {
    spdlog::info("{}: {}", context.name, stop.what());
    return StageStatus::interrupted;
  }
}

}  // namespace athanor
