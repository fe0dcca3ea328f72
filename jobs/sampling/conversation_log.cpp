#include "jobs/sampling/conversation_log.hpp"

#include <fmt/format.h>

#include <fstream>
#include <map>
#include <utility>

#include "io/checkpoint/durable.hpp"
#include "io/checkpoint/raw_file.hpp"
#include "src/base/error.hpp"
#include "src/task/task.hpp"

namespace athanor {
namespace {
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kKept = "kept.jsonl";
constexpr const char* kProgress = "progress.json";

/// Hashes of the whole conversation and of the turns before the answer.
std::pair<std::uint64_t, std::uint64_t> hashes_of(const std::string& line) {
  json messages = json::parse(line).at("messages");
  const std::uint64_t whole = form_hash(messages.dump());
  messages.erase(messages.size() - 1);
  return {whole, form_hash(messages.dump())};
}

/// How many, and their tokens.
struct Group {
  std::int64_t samples = 0, tokens = 0;
};

ordered_json table_of(const std::map<std::string, Group>& groups) {
  ordered_json table = ordered_json::object();
  for (const auto& [name, group] : groups)
    table[name] = {{"samples", group.samples},
                   {"mean_tokens", static_cast<double>(group.tokens) / static_cast<double>(group.samples)}};
  return table;
}

std::string changed_settings(const ordered_json& before, const ordered_json& now) {
  std::string changed;
  for (const auto& [key, value] : now.items())
    if (!before.contains(key) || before[key] != value)
      changed +=
          fmt::format("\n  {}: {} -> {}", key, before.contains(key) ? before[key].dump() : "nothing", value.dump());
  return changed;
}

}  // namespace

double SamplingCounts::acceptance_rate() const {
  return completions > 0 ? static_cast<double>(kept) / static_cast<double>(completions) : 0.0;
}

ordered_json SamplingCounts::to_json() const {
  ordered_json reasons = ordered_json::object();
  for (std::size_t r = 0; r < rejected.size(); ++r) reasons[std::string(kRejectionNames[r])] = rejected[r];
  return {{"problems", problems},
          {"contaminated_problems", contaminated_problems},
          {"completions", completions},
          {"right", right},
          {"kept", kept},
          {"problems_with_kept", solved},
          {"acceptance_rate", acceptance_rate()},
          {"tokens", tokens},
          {"rejected", std::move(reasons)}};
}

SamplingCounts SamplingCounts::from_json(const json& object) {
  SamplingCounts counts;
  object.at("problems").get_to(counts.problems);
  object.at("contaminated_problems").get_to(counts.contaminated_problems);
  object.at("completions").get_to(counts.completions);
  object.at("right").get_to(counts.right);
  object.at("kept").get_to(counts.kept);
  object.at("problems_with_kept").get_to(counts.solved);
  object.at("tokens").get_to(counts.tokens);
  for (std::size_t r = 0; r < counts.rejected.size(); ++r)
    object.at("rejected").at(std::string(kRejectionNames[r])).get_to(counts.rejected[r]);
  return counts;
}

ConversationLog::ConversationLog(std::filesystem::path folder, ordered_json settings, std::int64_t keep_per_problem)
    : folder_(std::move(folder)), settings_(std::move(settings)), keep_per_problem_(keep_per_problem) {
  std::filesystem::create_directories(folder_);
  std::ifstream in(folder_ / kProgress);
  if (!in) {
    (void)RawFile::create(folder_ / kKept);
    return;
  }
  const ordered_json progress = ordered_json::parse(in, nullptr, false);
  if (progress.is_discarded() || !progress.contains("settings") || !progress.contains("counts"))
    throw DataError("rejection sampling: " + (folder_ / kProgress).string() +
                    " is damaged; remove its folder to sample anew");
  if (const std::string changed = changed_settings(progress["settings"], settings_); !changed.empty())
    throw ConfigError("rejection sampling: " + folder_.string() +
                      " was begun with other options; give those, or remove the folder to sample anew:" + changed);
  counts_ = SamplingCounts::from_json(json(progress["counts"]));
  finished_ = progress.at("finished");
  if (!finished_) read_kept(progress.at("bytes"));
}

void ConversationLog::read_kept(std::int64_t bytes) {
  const auto path = folder_ / kKept;
  if (!std::filesystem::exists(path) || std::filesystem::file_size(path) < static_cast<std::uintmax_t>(bytes))
    throw DataError(
        fmt::format("rejection sampling: {} has lost conversations (wanted {} bytes); remove its folder to "
                    "sample anew",
                    path.string(), bytes));
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(bytes));
  kept_bytes_ = bytes;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto [whole, prompt] = hashes_of(line);
    conversations_.insert(whole);
    ++kept_of_prompt_[prompt];
  }
}

std::optional<Rejection> ConversationLog::decide(const std::string& line) {
  const auto [whole, prompt] = hashes_of(line);
  if (conversations_.contains(whole)) return Rejection::duplicate;
  std::int64_t& kept = kept_of_prompt_[prompt];
  if (keep_per_problem_ > 0 && kept >= keep_per_problem_) return Rejection::over_cap;
  conversations_.insert(whole);
  ++kept;
  return std::nullopt;
}

SamplingCounts ConversationLog::add(SamplingRound round) {
  SamplingCounts added;
  added.problems = round.problems;
  added.contaminated_problems = round.contaminated_problems;
  std::int64_t last_solved = -1;
  for (JudgedCompletion& judged : round.completions) {
    ++added.completions;
    added.tokens += judged.tokens;
    added.right += judged.right ? 1 : 0;
    if (!judged.rejection) judged.rejection = decide(judged.line);
    if (judged.rejection) {
      ++added.rejected[static_cast<std::size_t>(*judged.rejection)];
      continue;
    }
    ++added.kept;
    if (std::exchange(last_solved, judged.problem) != judged.problem) ++added.solved;
    pending_ += judged.line + "\n";
  }
  counts_.problems += added.problems;
  counts_.contaminated_problems += added.contaminated_problems;
  counts_.completions += added.completions;
  counts_.right += added.right;
  counts_.kept += added.kept;
  counts_.solved += added.solved;
  counts_.tokens += added.tokens;
  for (std::size_t r = 0; r < added.rejected.size(); ++r) counts_.rejected[r] += added.rejected[r];
  return added;
}

void ConversationLog::commit() {
  auto file = RawFile::open_read_write(folder_ / kKept);
  file.write_at(std::as_bytes(std::span(pending_)), kept_bytes_);
  file.sync();
  kept_bytes_ += std::ssize(pending_);
  pending_.clear();
  write_progress();
}

void ConversationLog::write_progress() const {
  const ordered_json progress{
      {"settings", settings_}, {"counts", counts_.to_json()}, {"bytes", kept_bytes_}, {"finished", finished_}};
  replace_text_file(folder_ / kProgress, progress.dump(2) + "\n");
}

void ConversationLog::finish(MixedConversations& mixed, const ordered_json& about) {
  mixed.choose(counts_.kept);
  std::map<std::string, Group> by_task, by_language;
  TextFileReplacement out(folder_ / "conversations.jsonl");
  std::ifstream in(folder_ / kKept);
  std::int64_t read = 0;
  for (std::string line; std::getline(in, line);) {
    out.append(line + "\n");
    const json object = json::parse(line);
    const std::int64_t tokens = object.at("completion_tokens");
    for (auto& [groups, field] : {std::pair(&by_task, "task"), std::pair(&by_language, "language")}) {
      Group& group = (*groups)[object.at(field).get<std::string>()];
      ++group.samples;
      group.tokens += tokens;
    }
    // Spread evenly: behind kept conversation r stand the mixed ones up to the share (r + 1) / kept of theirs.
    for (std::size_t s = 0; s < mixed.sources().size(); ++s) {
      const std::int64_t used = mixed.sources()[s].used;
      for (std::int64_t i = used * read / counts_.kept; i < used * (read + 1) / counts_.kept; ++i)
        out.append(mixed.next(s) + "\n");
    }
    ++read;
  }
  if (read != counts_.kept)
    throw DataError(fmt::format("rejection sampling: {} has {} conversations, {} were kept", (folder_ / kKept).string(),
                                read, counts_.kept));
  out.commit();

  ordered_json report = about;
  report.update(counts_.to_json());
  report["kept_by_task"] = table_of(by_task);
  report["kept_by_language"] = table_of(by_language);
  report["mix"] = ordered_json::array();
  for (const MixedConversations::Source& source : mixed.sources())
    report["mix"].push_back({{"source", source.name},
                             {"share", source.share},
                             {"usable", source.usable ? ordered_json(*source.usable) : ordered_json(nullptr)},
                             {"bad_lines", source.bad},
                             {"contaminated", source.contaminated},
                             {"wanted", source.wanted},
                             {"used", source.used}});
  replace_text_file(folder_ / "rejected.json", report.dump(2) + "\n");
  finished_ = true;
  write_progress();
  std::filesystem::remove(folder_ / kKept);
}

}  // namespace athanor
