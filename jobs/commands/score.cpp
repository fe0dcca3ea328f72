// athanor score --reward=NAME[,NAME] --input=FILE.jsonl [--output=FILE]
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>

#include "io/checkpoint/durable.hpp"
#include "io/dataset/jsonl_reader.hpp"
#include "io/dataset/problem_file.hpp"
#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/reward/reward_set.hpp"

namespace athanor {
namespace {
using nlohmann::ordered_json;

struct Line {
  std::int64_t number;
  nlohmann::json id;  ///< as given; null where it was not
  RewardResult result{};
};

ordered_json number_or_null(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

std::string written(const Line& line, const RewardSet& rewards) {
  ordered_json object{{"line", line.number}};
  if (!line.id.is_null()) object["id"] = line.id;
  for (std::size_t i = 0; i < rewards.members().size(); ++i) {
    const RewardPart& part = line.result.parts[i];
    object[rewards.members()[i].name] = number_or_null(part.value);
    const bool fine = part.fault == RewardFault::none || part.fault == RewardFault::cannot_score;
    if (!part.message.empty()) object[fine ? "remarks" : "errors"][rewards.members()[i].name] = part.message;
  }
  object["total"] = number_or_null(line.result.total);
  // An exception may quote bytes of a completion.
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

/// The lines scored, in order. Lines with the same id (else the same prompt) are one group.
std::vector<Line> score_file(const std::string& input, const RewardSet& rewards) {
  std::vector<Line> lines;
  std::vector<RewardSample> samples;
  std::map<std::int64_t, std::vector<std::size_t>> groups;
  JsonlReader reader(input);
  for (nlohmann::json object; reader.next(object);) {
    samples.push_back(parse_reward_sample(object, reader.place()));
    groups[samples.back().prompt_id].push_back(lines.size());
    lines.push_back({reader.line(), object.value("id", nlohmann::json())});
  }
  const RewardSet::Begun begun = rewards.begin(samples);
  for (const auto& [id, members] : groups) {
    std::vector<RewardSample> group;
    for (const std::size_t member : members) group.push_back(std::move(samples[member]));
    std::vector<RewardResult> results = rewards.score_group(group);
    for (std::size_t i = 0; i < members.size(); ++i) lines[members[i]].result = std::move(results[i]);
  }
  return lines;
}

void print_summary(const std::vector<Line>& lines, const RewardSet& rewards) {
  for (std::size_t i = 0; i < rewards.members().size(); ++i) {
    RewardTally tally;
    for (const Line& line : lines) tally.add(line.result.parts[i]);
    fmt::print("{}: mean {:.4f} of {} scored, {} null, {} errors\n", rewards.members()[i].name,
               tally.scored > 0 ? tally.sum / static_cast<double>(tally.scored) : 0.0, tally.scored, tally.cannot_score,
               tally.threw + tally.not_finite + tally.timed_out);
  }
}

}  // namespace

int score_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string rewards_text, input, output;
  OptionTable own;
  RewardRegistry registry;
  register_all_rewards(registry);
  own.section("", "score");
  own.add("reward", rewards_text, "NAME,...",
          fmt::format("each NAME[:key=value]...[ @ WEIGHT]; there are {}", fmt::join(registry.names(), ", ")));
  own.add("input", input, "FILE", "one JSON object a line (.jsonl, also gzip; also the first word)");
  own.add("output", output, "FILE", "written when all went well; empty: standard output");
  const Invocation invocation = parse_invocation(words, {{&own}, "input"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor score --reward=NAME[,NAME] --input=FILE.jsonl [--output=FILE]\n\n"
          "One JSON line for each of the input: every score or null, and the weighted total. Fields read: completion,\n"
          "answer, language, prompt, id, reward, tests, code_language, completion_tokens. Lines with the same id (else "
          "the same\n"
          "prompt) are one group.\n\n{}",
          own.help());
    return kExitComplete;
  }
  Configuration(invocation.assignments, own).apply(own);
  if (rewards_text.empty())
    throw ConfigError(fmt::format("score: no --reward=NAME is given; there are {}", fmt::join(registry.names(), ", ")));
  if (input.empty()) throw ConfigError("score: no --input=FILE is given");
  const RewardSet rewards(rewards_text, registry);
  on_first_rank(world, [&] {
    const std::vector<Line> lines = score_file(input, rewards);
    std::string text;
    for (const Line& line : lines) text += written(line, rewards);
    if (output.empty()) {
      fmt::print("{}", text);
    } else {
      replace_text_file(output, text);
      print_summary(lines, rewards);
    }
  });
  return kExitComplete;
}

}  // namespace athanor
