#include "parallel/pipeline/schedule.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <limits>
#include <optional>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr int kMaxCount = 1 << 20;  // of ranks, chunks, micro-batches in a file

/// One line of the text, eaten from the left.
struct Line {
  std::string_view rest;
  int number;
  std::string_view origin;

  [[noreturn]] void refuse(std::string_view wanted, std::string_view found) const {
    throw ConfigError(fmt::format("{}:{}: wanted {}, found '{}'", origin, number, wanted, found));
  }

  /// The next word; empty at the end.
  std::string_view word() {
    const auto begin = std::min(rest.find_first_not_of(" \t\r"), rest.size());
    rest.remove_prefix(begin);
    const auto end = std::min(rest.find_first_of(" \t\r"), rest.size());
    const auto found = rest.substr(0, end);
    rest.remove_prefix(end);
    return found;
  }
};

/// A whole number at the start of `text`, which is eaten; nothing when there is none.
std::optional<int> eat_number(std::string_view& text) {
  int value = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

/// chunk, letter, micro-batch at the start of `text`, which is eaten.
std::optional<Action> eat_action(std::string_view& text) {
  const auto chunk = eat_number(text);
  if (!chunk || text.empty()) return std::nullopt;
  const auto at = std::string_view("FIWB").find(text.front());
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(1);
  const auto micro_batch = eat_number(text);
  if (!micro_batch) return std::nullopt;
  return Action{static_cast<Phase>(at), *chunk, *micro_batch};
}

Action parse_action(std::string_view word, const Line& line) {
  const auto refuse = [&] {
    line.refuse("an action: chunk, F, I, W or B, micro-batch (\"0F3\"), or an overlapped pair (\"0F3&7B1\")", word);
  };
  std::string_view rest = word;
  std::optional<Action> action = eat_action(rest);
  if (!action) refuse();
  if (rest.empty()) return *action;
  if (rest.front() != '&' || action->phase != Phase::F) refuse();
  rest.remove_prefix(1);
  const std::optional<Action> backward = eat_action(rest);
  if (!backward || !rest.empty() || backward->phase != Phase::B) refuse();
  return {Phase::FB, action->chunk, action->micro_batch, backward->chunk, backward->micro_batch};
}

/// `key=value` as the next word.
std::string_view parse_fact(Line& line, std::string_view key) {
  const std::string_view word = line.word();
  if (!word.starts_with(key) || word.size() <= key.size() || word[key.size()] != '=')
    line.refuse(fmt::format("{}=... (header: schedule NAME ranks=2 chunks=2 micro_batches=4 placement=0,1)", key),
                word);
  return word.substr(key.size() + 1);
}

int parse_count(Line& line, std::string_view key) {
  const std::string_view value = parse_fact(line, key);
  std::string_view rest = value;
  const auto count = eat_number(rest);
  if (!count || !rest.empty() || *count < 1 || *count > kMaxCount)
    line.refuse(fmt::format("{}= and a number from 1 to {}", key, kMaxCount), value);
  return *count;
}

PipelineSchedule parse_header(Line& line) {
  if (const auto word = line.word(); word != "schedule") line.refuse("the header \"schedule NAME ranks=...\"", word);
  PipelineSchedule schedule;
  schedule.name = line.word();
  if (schedule.name.empty()) line.refuse("the name of the schedule", "");
  schedule.num_ranks = parse_count(line, "ranks");
  schedule.num_chunks = parse_count(line, "chunks");
  schedule.num_micro_batches = parse_count(line, "micro_batches");
  const std::string_view placement = parse_fact(line, "placement");
  for (std::string_view rest = placement; !rest.empty();) {
    const auto rank = eat_number(rest);
    const bool more = rest.size() > 1 && rest.front() == ',';
    if (!rank || (!rest.empty() && !more))
      line.refuse("placement= and the rank of each chunk, as in 0,1,1,0", placement);
    schedule.chunk_rank.push_back(*rank);
    if (more) rest.remove_prefix(1);
  }
  if (schedule.chunk_rank.size() != static_cast<std::size_t>(schedule.num_chunks))
    line.refuse(fmt::format("placement= and a rank for each of {} chunks", schedule.num_chunks), placement);
  if (const auto word = line.word(); !word.empty()) line.refuse("the end of the header", word);
  schedule.rank_programs.resize(static_cast<std::size_t>(schedule.num_ranks));
  return schedule;
}

/// "rank 3: actions".
void parse_rank(Line& line, PipelineSchedule& schedule, std::vector<bool>& seen) {
  const std::string wanted = fmt::format("\"rank N:\" with N from 0 to {}", schedule.num_ranks - 1);
  if (const auto word = line.word(); word != "rank") line.refuse(wanted, word);
  const std::string_view word = line.word();
  std::string_view rest = word;
  const auto rank = eat_number(rest);
  if (!rank || rest != ":" || *rank >= schedule.num_ranks) line.refuse(wanted, word);
  const auto index = static_cast<std::size_t>(*rank);
  if (seen[index]) line.refuse("one line for each rank", fmt::format("rank {} again", *rank));
  seen[index] = true;
  for (auto action = line.word(); !action.empty(); action = line.word())
    schedule.rank_programs[index].push_back(parse_action(action, line));
}

}  // namespace

std::string_view letter(Phase phase) {
  constexpr std::string_view kLetters[] = {"F", "I", "W", "B", "F&B"};
  return kLetters[static_cast<std::size_t>(phase)];
}

Parts parts_of(const Action& action) {
  const auto [phase, chunk, micro_batch, chunk_b, micro_batch_b] = action;
  switch (phase) {
    case Phase::B:
      return {{{Phase::I, chunk, micro_batch}, {Phase::W, chunk, micro_batch}, {}}, 2};
    case Phase::FB:
      return {{{Phase::F, chunk, micro_batch}, {Phase::I, chunk_b, micro_batch_b}, {Phase::W, chunk_b, micro_batch_b}},
              3};
    default:
      return {{{phase, chunk, micro_batch}, {}, {}}, 1};
  }
}

Parts needs_of(const Part& part, int num_chunks) {
  const auto [phase, chunk, micro_batch] = part;
  Parts needs;
  const auto add = [&needs](Part need) { needs.list[needs.count++] = need; };
  if (phase == Phase::F && chunk > 0) add({Phase::F, chunk - 1, micro_batch});
  if (phase == Phase::I) add({Phase::F, chunk, micro_batch});
  if (phase == Phase::I && chunk + 1 < num_chunks) add({Phase::I, chunk + 1, micro_batch});
  if (phase == Phase::W) add({Phase::I, chunk, micro_batch});
  return needs;
}

std::string to_text(const Action& action) {
  if (action.phase == Phase::FB)
    return fmt::format("{}F{}&{}B{}", action.chunk, action.micro_batch, action.chunk_b, action.micro_batch_b);
  return fmt::format("{}{}{}", action.chunk, letter(action.phase), action.micro_batch);
}

std::string to_words(const Part& part) {
  return fmt::format("{} of chunk {}, micro-batch {}", letter(part.phase), part.chunk, part.micro_batch);
}

std::string to_text(const PipelineSchedule& schedule) {
  std::string text =
      fmt::format("schedule {} ranks={} chunks={} micro_batches={} placement={}\n", schedule.name, schedule.num_ranks,
                  schedule.num_chunks, schedule.num_micro_batches, fmt::join(schedule.chunk_rank, ","));
  for (std::size_t rank = 0; rank < schedule.rank_programs.size(); ++rank) {
    text += fmt::format("rank {}:", rank);
    for (const Action& action : schedule.rank_programs[rank]) text += " " + to_text(action);
    text += "\n";
  }
  return text;
}

PipelineSchedule parse_schedule(std::string_view text, std::string_view origin) {
  PipelineSchedule schedule;
  std::vector<bool> seen;
  bool has_header = false;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    Line line{text.substr(begin, end - begin), ++number, origin};
    begin = end + 1;
    line.rest = line.rest.substr(0, line.rest.find('#'));
    if (line.rest.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (has_header) {
      parse_rank(line, schedule, seen);
    } else {
      schedule = parse_header(line);
      seen.resize(schedule.rank_programs.size());
      has_header = true;
    }
  }
  if (!has_header)
    throw ConfigError(fmt::format("{}: wanted the header \"schedule NAME ranks=...\", found no line at all", origin));
  for (std::size_t rank = 0; rank < seen.size(); ++rank)
    if (!seen[rank])
      throw ConfigError(fmt::format("{}: wanted a line \"rank N:\" for each of {} ranks, found none for rank {}",
                                    origin, schedule.num_ranks, rank));
  return schedule;
}

}  // namespace athanor
