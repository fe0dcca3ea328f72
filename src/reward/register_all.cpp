// The list of rewards, with the options of each and their defaults. To add one: a row here and in README.md.
#include "src/reward/accuracy.hpp"
#include "src/reward/answer_format.hpp"
#include "src/reward/code.hpp"
#include "src/reward/countdown.hpp"
#include "src/reward/language_consistency.hpp"
#include "src/reward/registry.hpp"
#include "src/reward/repetition.hpp"

namespace athanor {
namespace {

constexpr double kAnyReward = 1e6;
constexpr std::int64_t kAnyLength = std::int64_t{1} << 40;

class CountdownReward final : public Reward {
 public:
  std::optional<double> score(const RewardSample& sample) const override {
    const auto verdict = judge_countdown(sample);
    if (!verdict) return std::nullopt;
    return *verdict == CountdownVerdict::right ? 1.0 : *verdict == CountdownVerdict::wrong ? 0.1 : 0.0;
  }
};

std::unique_ptr<Reward> make_cosine(SpecOptions& options, std::shared_ptr<const AnswerChecks> checks) {
  CosineOptions cosine;
  const auto value = [&](const char* key, double& field) {
    field = options.number(key, field, -kAnyReward, kAnyReward);
  };
  value("min_value_wrong", cosine.min_value_wrong);
  value("max_value_wrong", cosine.max_value_wrong);
  value("min_value_correct", cosine.min_value_correct);
  value("max_value_correct", cosine.max_value_correct);
  cosine.max_length = options.integer("max_len", cosine.max_length, 1, kAnyLength);
  const std::vector<std::string> compat{"none", "open_r1"};
  cosine.unclamped = options.word("compat", "none", compat) == "open_r1";
  return std::make_unique<CosineReward>(std::move(checks), cosine);
}

/// The sandbox is started by the first reward that needs it, and shared by those of one registry.
std::unique_ptr<Reward> make_code(SpecOptions& options, std::weak_ptr<CodeRunner>& shared, bool binary) {
  CodeOptions code;
  code.binary = binary;
  const std::vector<std::string> languages{"sample", "python", "cpp"}, compat{"none", "open_r1"};
  const std::string language = options.word("language", "sample", languages);
  if (language != "sample") code.language = language;
  code.open_r1 = options.word("compat", "none", compat) == "open_r1";
  if (code.open_r1 && language == "cpp") options.refuse("compat=open_r1 runs Python alone");
  code.limits.cpu_seconds = options.number("timeout", code.limits.cpu_seconds, 1.0, 3600.0);
  code.limits.wall_seconds = 4.0 * code.limits.cpu_seconds + 2.0;  // others may share the cores
  const auto bytes = [&](const char* key, std::uint64_t otherwise) {
    return static_cast<std::uint64_t>(options.integer(key, static_cast<std::int64_t>(otherwise >> 20), 1, 1 << 20))
           << 20;
  };
  code.limits.memory_bytes = bytes("memory_mb", code.limits.memory_bytes);
  code.limits.output_bytes = bytes("output_mb", code.limits.output_bytes);
  std::shared_ptr<CodeRunner> runner = shared.lock();
  if (!runner) shared = runner = std::make_shared<CodeRunner>();
  return std::make_unique<CodeReward>(std::move(runner), std::move(code));
}

std::unique_ptr<Reward> make_overlong(SpecOptions& options) {
  const std::int64_t max_tokens = options.integer("max_completion_len", 16384, 1, kAnyLength);
  const std::int64_t margin = options.integer("soft_punish_cache", 4096, 0, kAnyLength);
  if (margin > max_tokens)
    options.refuse("soft_punish_cache is larger than max_completion_len: every completion would be punished");
  return std::make_unique<SoftOverlongPunishment>(max_tokens, margin);
}

}  // namespace

void register_all_rewards(RewardRegistry& registry, AnswerChecks answer_checks) {
  const auto checks = std::make_shared<const AnswerChecks>(std::move(answer_checks));
  registry.add("accuracy", [checks](SpecOptions&) { return std::make_unique<AccuracyReward>(checks); });
  const auto runner = std::make_shared<std::weak_ptr<CodeRunner>>();
  registry.add("binary_code", [runner](SpecOptions& options) { return make_code(options, *runner, true); });
  registry.add("code", [runner](SpecOptions& options) { return make_code(options, *runner, false); });
  registry.add("code_format",
               [](SpecOptions& options) { return std::make_unique<CodeFormatReward>(options.text("language", "")); });
  registry.add("cosine", [checks](SpecOptions& options) { return make_cosine(options, checks); });
  registry.add("countdown", [](SpecOptions&) { return std::make_unique<CountdownReward>(); });
  registry.add("format", [](SpecOptions& options) {
    const std::vector<std::string> layouts{"tags", "r1"};
    const bool r1 = options.word("layout", "tags", layouts) == "r1";
    return std::make_unique<FormatReward>(r1 ? AnswerLayout::r1 : AnswerLayout::tags);
  });
  registry.add("language_consistency", [](SpecOptions&) { return std::make_unique<LanguageConsistencyReward>(); });
  registry.add("length", [checks](SpecOptions&) { return std::make_unique<LengthReward>(checks); });
  registry.add("reasoning_steps", [](SpecOptions&) { return std::make_unique<ReasoningStepsReward>(); });
  registry.add("repetition_penalty", [](SpecOptions& options) {
    const auto n = static_cast<int>(options.integer("ngram_size", 3, 1, 1000));
    return std::make_unique<RepetitionPenalty>(n, options.number("max_penalty", -1.0, -kAnyReward, kAnyReward));
  });
  registry.add("soft_overlong_punishment", make_overlong);
  registry.add("tag_count", [](SpecOptions&) { return std::make_unique<TagCountReward>(); });
}

}  // namespace athanor
