#include "src/reward/code.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"
#include "src/reward/answer_extraction.hpp"
#include "src/reward/code_block.hpp"
#include "src/sandbox/messages.hpp"
#include "src/sandbox/system_programs.hpp"

namespace athanor {
namespace {

constexpr double kBinaryThreshold = 0.99;
constexpr std::size_t kForgetEvery = 1024;

std::string_view stripped(std::string_view text) {
  constexpr std::string_view kBlank = " \t\n\r\f\v";
  const std::size_t from = text.find_first_not_of(kBlank);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kBlank) - from + 1);
}

/// Takes the first line off `text`, which then is what follows, or nullopt behind the last.
std::string_view take_line(std::optional<std::string_view>& text) {
  const std::size_t end = text->find('\n');
  const std::string_view line = text->substr(0, end);
  text = end == std::string_view::npos ? std::nullopt : std::optional(text->substr(end + 1));
  return stripped(line);
}

std::string last_line(std::string_view text) {
  text = stripped(text);
  const std::size_t before = text.rfind('\n');
  return std::string(before == std::string_view::npos ? text : text.substr(before + 1));
}

/// What was wrong with a test that did not pass.
std::string complaint(const ProgramRun& run, const SandboxLimits& limits) {
  switch (run.status) {
    case RunStatus::time_limit:
      return fmt::format("not done within {} s of CPU time ({} s in all)", limits.cpu_seconds, limits.wall_seconds);
    case RunStatus::output_limit:
      return fmt::format("more than {} bytes of output", limits.output_bytes);
    case RunStatus::broken:
      return "no sandbox: " + run.message;
    case RunStatus::finished:
      break;
  }
  if (run.exit_code != 0) return fmt::format("exit status {}: {}", run.exit_code, last_line(run.message));
  return "wrong output";
}

}  // namespace

CodeRunner::Handle CodeRunner::begin(Program program) {
  const std::string key = frame(Request{0, program});
  const std::lock_guard lock(mutex_);
  if (begun_.size() >= kForgetEvery) std::erase_if(begun_, [](const auto& item) { return item.second.expired(); });
  std::weak_ptr<const Sandbox::Pending>& begun = begun_[key];
  Handle handle = begun.lock();
  if (!handle) {
    handle = std::make_shared<const Sandbox::Pending>(sandbox_.submit(std::move(program)));
    begun = handle;
  }
  return handle;
}

CodeReward::CodeReward(std::shared_ptr<CodeRunner> runner, CodeOptions options)
    : runner_(std::move(runner)), options_(std::move(options)) {
  if (options_.language == "cpp" && cpp_compiler_path().empty())
    throw ConfigError("code reward: language cpp needs g++, c++ or clang++ in /usr/bin or /usr/local/bin");
  if (options_.language != "cpp" && python_path().empty())
    throw ConfigError(
        "code reward: no python3 in /usr/bin or /usr/local/bin; install it (jobs/setup.sh does), or give language=cpp");
}

std::optional<Program> CodeReward::program_of(const RewardSample& sample) const {
  std::string language = options_.language.empty() ? sample.code_language : options_.language;
  if (language.empty() || options_.open_r1) language = "python";
  Program program;
  if (language == "cpp" || language == "c++") {
    program.kind = ProgramKind::cpp;
  } else if (language != "python") {
    throw Error("code reward: language '" + language + "' of the sample is neither python nor cpp");
  }
  auto code = last_code_block(part_with_answer(sample), language);
  if (!code && program.kind == ProgramKind::cpp)
    code = last_code_block(part_with_answer(sample), language == "cpp" ? "c++" : "cpp");
  if (!code) return std::nullopt;
  program.source = *code;
  for (const TestCase& test : sample.tests) program.inputs.push_back(test.input);
  program.limits = options_.limits;
  return program;
}

std::shared_ptr<void> CodeReward::begin(std::span<const RewardSample> samples) const {
  auto handles = std::make_shared<std::vector<CodeRunner::Handle>>();
  for (const RewardSample& sample : samples) {
    if (sample.tests.empty()) continue;
    try {
      if (auto program = program_of(sample)) handles->push_back(runner_->begin(*std::move(program)));
    } catch (const Error&) {  // evaluate will meet it again, and is the one to tell
    }
  }
  return handles;
}

RewardScore CodeReward::evaluate(const RewardSample& sample) const {
  if (sample.tests.empty()) return {};
  const auto program = program_of(sample);
  if (!program) return {0.0, "no block of code"};
  const ProgramResult result = runner_->wait(runner_->begin(*program));
  if (!result.compiled) {
    if (result.compilation.status == RunStatus::broken) throw Error("sandbox: " + result.compilation.message);
    return {0.0, "does not compile: " + result.compilation.message};
  }
  std::size_t passed = 0;
  std::string remark;
  bool out_of_time = false;
  for (std::size_t i = 0; i < result.runs.size(); ++i) {
    const ProgramRun& run = result.runs[i];
    if (run.status == RunStatus::broken) throw Error(fmt::format("sandbox: test {}: {}", i + 1, run.message));
    if (run.status == RunStatus::finished && run.exit_code == 0 &&
        is_expected_output(run.output, sample.tests[i].output, options_.open_r1)) {
      ++passed;
      continue;
    }
    out_of_time = out_of_time || run.status == RunStatus::time_limit;
    if (remark.empty())
      remark = fmt::format("test {} of {}: {}", i + 1, result.runs.size(), complaint(run, options_.limits));
  }
  double share = static_cast<double>(passed) / static_cast<double>(result.runs.size());
  if (options_.open_r1 && out_of_time) share = 0.0;
  if (options_.binary) share = share > kBinaryThreshold ? 1.0 : 0.0;
  return {share, remark};
}

bool is_expected_output(std::string_view output, std::string_view expected, bool as_published) {
  std::optional<std::string_view> left = stripped(output), right = as_published ? expected : stripped(expected);
  while (left && right)
    if (take_line(left) != take_line(right)) return false;
  return as_published || (!left && !right);
}

}  // namespace athanor
