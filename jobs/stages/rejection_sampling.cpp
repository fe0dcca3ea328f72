#include "jobs/stages/rejection_sampling.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/metrics/metrics.hpp"
#include "jobs/inference_model.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/sampling/conversation_log.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {
using nlohmann::ordered_json;

/// One run of the stage: the objects it needs and the loop.
class RejectionSampling {
 public:
  explicit RejectionSampling(StageContext& context)
      : context_(context),
        options_(context.options),
        folder_(context.folder.stage(context.name)),
        leads_(context.world.rank() == 0),
        tokenizer_(load_tokenizer(options_.data.tokenizer)),
        scorer_(sampling_scorer_options(options_, *tokenizer_, true), *tokenizer_),
        problems_(num_sampled_problems(options_, scorer_)),
        decontamination_(options_, *tokenizer_, leads_) {}

  StageStatus run() {
    context_.world.check_same("the problems of rl.tasks", scorer_.tasks().fingerprint());
    require_init(context_);
    from_ = origin();
    open_log();
    if (!finished_) {
      InferenceModel inference(context_);
      const ProblemRange all{options_.run.seed, 0, problems_, Split::train};
      const std::int64_t rows = longest_prompt(*context_.environment.mesh, scorer_, all) + sampled_tokens(options_);
      const auto engine = inference.make_engine(options_.sampling.samples, rows, *tokenizer_);
      ConversationSampler sampler(*context_.environment.mesh, scorer_, *engine, decontamination_, options_, from_);
      if (!sample(sampler)) {
        spdlog::info("{}: stopped by {} after {} of {} problems", context_.name, context_.stop.reason(),
                     counts_.problems, problems_);
        return StageStatus::interrupted;
      }
      finish();
    }
    if (leads_ && counts_.kept == 0)
      spdlog::warn("{}: nothing was kept: {} of {} completions were right; see {}", context_.name, counts_.right,
                   counts_.completions, (folder_ / "data" / "rejected.json").string());
    const double rate = 100.0 * counts_.acceptance_rate();
    context_.summary["kept"] = std::to_string(counts_.kept);
    context_.summary["sampled"] = std::to_string(counts_.completions);
    context_.summary["accepted"] = fmt::format("{:.1f} %", rate);
    spdlog::info("{}: kept {} of {} completions ({:.1f} %), of {} of {} problems", context_.name, counts_.kept,
                 counts_.completions, rate, counts_.solved, counts_.problems);
    return StageStatus::complete;
  }

 private:
  SampledFrom origin() const {
    // .../stages/NAME/checkpoints/step_00000150
    const auto checkpoint = named_checkpoint(context_, context_.stage.init);
    return {checkpoint.parent_path().parent_path().filename().string(), checkpoint.filename().string(),
            options_.run.seed};
  }

  /// Everything that decides which conversations are kept.
  ordered_json settings() const {
    const RejectionSamplingOptions& sampling = options_.sampling;
    const ReadabilityOptions& readability = sampling.readability;
    return {{"init", from_.stage + "/" + from_.checkpoint},
            {"run.seed", options_.run.seed},
            {"run.dtype", std::string(to_string(options_.run.dtype))},
            {"data.tokenizer", fmt::format("{:016x}", tokenizer_->content_hash())},
            {"rl.tasks", options_.rl.tasks},
            {"rl.tasks (content)", fmt::format("{:016x}", scorer_.tasks().fingerprint())},
            {"rl.prompt_template", options_.rl.prompt_template},
            {"data.isolate_documents", options_.data.isolate_documents},
            {"sampling.problems", problems_},
            {"sampling.samples", sampling.samples},
            {"sampling.temperature", sampling.sampler.temperature},
            {"sampling.top_p", sampling.sampler.top_p},
            {"sampling.min_p", sampling.sampler.min_p},
            {"sampling.top_k", sampling.sampler.top_k},
            {"sampling.max_new_tokens", sampled_tokens(options_)},
            {"sampling.keep_per_problem", sampling.keep_per_problem},
            {"sampling.direct", readability.direct},
            {"sampling.code_blocks", readability.code_blocks},
            {"sampling.max_completion_tokens", readability.max_tokens},
            {"sampling.max_paragraph", readability.max_paragraph},
            {"sampling.min_language", readability.min_language},
            {"sampling.repetition_ngram", readability.repetition_ngram},
            {"sampling.max_repetition", readability.max_repetition},
            {"sampling.rewrite", sampling.rewrite_r1 ? "r1" : "none"},
            {"sampling.decontaminate", sampling.decontaminate},
            {"sampling.ngram", sampling.ngram}};
  }

  /// Rank 0 finds what is there; all go on from it.
  void open_log() {
    on_first_rank(context_.world, [&] {
      log_.emplace(folder_ / "data", settings(), options_.sampling.keep_per_problem);
      metrics_.emplace(folder_ / "metrics.jsonl", log_->counts().problems, context_.event_folder());
      write_stage_goal(folder_, {problems_, "problems"});
    });
    share_counts();
    if (counts_.problems > 0)
      spdlog::info("{}: goes on after {} of {} problems", context_.name, counts_.problems, problems_);
  }

  void share_counts() {
    ordered_json state;
    if (leads_) state = {{"counts", log_->counts().to_json()}, {"finished", log_->finished()}};
    const auto shared = nlohmann::json::parse(context_.world.broadcast(state.dump(), 0));
    counts_ = SamplingCounts::from_json(shared.at("counts"));
    finished_ = shared.at("finished");
  }

  /// @returns false when it was stopped.
  bool sample(ConversationSampler& sampler) {
    const CollectiveLog::InPhase phase(context_.world.log(), JobPhase::rollout);
    const auto begin = Clock::now();
    const std::int64_t first = counts_.problems;
    while (counts_.problems < problems_) {
      if (context_.stop.agreed(context_.world)) return false;
      const std::int64_t count = std::min(options_.sampling.problems_per_round, problems_ - counts_.problems);
      SamplingRound round;
      try {
        round = sampler.round(counts_.problems, count);
      } catch (const Interrupted&) {
        return false;
      }
      const double seconds = round.seconds, tokens_per_second = round.tokens_per_second;
      if (leads_) {
        report(log_->add(std::move(round)), seconds, tokens_per_second, seconds_since(begin), first);
        log_->commit();
      }
      share_counts();
    }
    return true;
  }

  void report(const SamplingCounts& round, double seconds, double tokens_per_second, double all_seconds,
              std::int64_t first) {
    const SamplingCounts& counts = log_->counts();
    const double completions = std::max(1.0, static_cast<double>(round.completions));
    std::vector<std::string> names;
    for (const std::string_view name : kRejectionNames) names.push_back("rejected/" + std::string(name));
    std::vector<Scalar> scalars = {{"acceptance_rate", round.acceptance_rate()},
                                   {"accuracy", static_cast<double>(round.right) / completions},
                                   {"kept", static_cast<double>(counts.kept)},
                                   {"completion_length/mean", static_cast<double>(round.tokens) / completions},
                                   {"contaminated_problems", static_cast<double>(round.contaminated_problems)},
                                   {"rollout_tokens_per_second", tokens_per_second},
                                   {"rollout_seconds", seconds}};
    for (std::size_t r = 0; r < names.size(); ++r)
      scalars.push_back({names[r], static_cast<double>(round.rejected[r]) / completions});
    metrics_->write(context_.name, counts.problems, scalars);
    const double left = static_cast<double>(problems_ - counts.problems) * all_seconds /
                        static_cast<double>(std::max<std::int64_t>(1, counts.problems - first));
    const std::int64_t rounds = counts.problems / options_.sampling.problems_per_round;
    progress_.show(
        fmt::format("{} problems {}/{} kept {} of {} ({:.1f} %) right {:.1f} % {:.0f} tok/s ETA {}", context_.name,
                    counts.problems, problems_, counts.kept, counts.completions, 100.0 * counts.acceptance_rate(),
                    100.0 * static_cast<double>(counts.right) / std::max(1.0, static_cast<double>(counts.completions)),
                    tokens_per_second, format_seconds(left)),
        rounds % options_.run.log_every == 0 || counts.problems == problems_);
  }

  void finish() {
    progress_.finish();
    on_first_rank(context_.world, [&] {
      MixedConversations mixed(options_, decontamination_, true);
      log_->finish(mixed, {{"stage", context_.name},
                           {"sampled_from", from_.stage},
                           {"checkpoint", from_.checkpoint},
                           {"decontaminated_against", options_.sampling.decontaminate}});
      std::int64_t mixed_in = 0;
      for (const MixedConversations::Source& source : mixed.sources()) mixed_in += source.used;
      if (mixed_in > 0) context_.summary["mixed in"] = std::to_string(mixed_in);
    });
    share_counts();
  }

  StageContext& context_;
  const JobOptions& options_;
  std::filesystem::path folder_;
  bool leads_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ProblemScorer scorer_;
  std::int64_t problems_;
  Decontamination decontamination_;
  SampledFrom from_;
  std::optional<ConversationLog> log_;
  std::optional<MetricsFile> metrics_;
  ProgressLine progress_;
  SamplingCounts counts_;
  bool finished_ = false;
};

}  // namespace

void RejectionSamplingStage::check(const JobOptions& options) const {
  const auto tokenizer = load_tokenizer(options.data.tokenizer);
  const ProblemScorer scorer(sampling_scorer_options(options, *tokenizer, false), *tokenizer);
  (void)num_sampled_problems(options, scorer);
  const Decontamination decontamination(options, *tokenizer, false);
  (void)MixedConversations(options, decontamination, false);
}

StageStatus RejectionSamplingStage::run(StageContext& context) { return RejectionSampling(context).run(); }

}  // namespace athanor
