#include "jobs/report/live_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "io/metrics/metrics.hpp"
#include "jobs/report/road.hpp"

namespace athanor {
namespace {

constexpr std::size_t kCurveWidth = 40, kCurvePoints = 400;

/// A number that people follow: where it is in metrics.jsonl, and its name here.
struct Followed {
  const char *metric, *label, *unit;
};

/// The first that a stage has are shown, those before the others that tell more.
constexpr std::array<Followed, 8> kFollowed{{{"reward/mean", "reward", ""},
                                             {"acceptance_rate", "kept", ""},
                                             {"accuracy", "accuracy", ""},
                                             {"loss", "loss", ""},
                                             {"completion_length/mean", "length", "tokens"},
                                             {"grad_norm", "gradient", ""},
                                             {"tokens_per_second", "speed", "tokens/s"},
                                             {"rollout_tokens_per_second", "sampling", "tokens/s"}}};
/// The loss of a policy update says nothing of how good it is.
bool is_shown(const Followed& followed, const StageRecord& stage) {
  return stage.last(followed.metric).has_value() &&
         !(stage.kind == "rl" && std::string_view(followed.metric) == "loss");
}

std::string value_text(double value) {
  return std::abs(value) < 1000.0 ? fmt::format("{:.4g}", value) : short_number(value);
}

/// Signs of UTF-8 text; what stands between \033 and m takes no room.
std::string cut_to(const std::string& text, std::size_t width) {
  std::string kept;
  std::size_t signs = 0;
  bool colour = false, cut = false;
  for (const char byte : text) {
    if (byte == '\033') colour = true;
    const bool begins = !colour && (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U;
    if (begins && ++signs > width) cut = true;
    if (!cut || colour) kept += byte;
    if (colour && byte == 'm') colour = false;
  }
  return kept;
}

std::string paint(const LiveLook& look, const char* code, const std::string& text) {
  return look.colours ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
}

std::string state_text(const LiveRecord& record, const LiveLook& look) {
  if (!record.job) return "";
  const JobState& job = *record.job;
  std::string text = fmt::format("{} ranks, rank 0 is process {} on {}", job.ranks, job.process, job.host);
  if (job.is != JobState::Is::running)
    return fmt::format("{}{}", to_string(job.is), job.why.empty() ? "" : ": " + job.why.substr(0, job.why.find('\n')));
  if (!look.job_may_live) return "gone without a word: " + text;
  return fmt::format("running for {}: {}", format_seconds(look.now - job.began), text);
}

/// Names of the stages with how far they are, as many in a line as go into it.
std::vector<std::string> road_lines(const LiveRecord& record, const LiveLook& look) {
  std::vector<std::string> lines(1);
  std::size_t used = 0;
  for (std::size_t s = 0; s < record.run.stages.size(); ++s) {
    const StageRecord& stage = record.run.stages[s];
    const bool now = record.now == s;
    const std::string word = (stage.complete ? "✓ " : now ? "▶ " : "· ") + stage.name;
    const std::size_t signs = stage.name.size() + 2;
    if (used > 0 && used + 3 + signs > look.width) {
      lines.emplace_back();
      used = 0;
    }
    if (used > 0) lines.back() += "   ";
    used += signs + (used > 0 ? 3 : 0);
    lines.back() += paint(look, stage.complete ? "32" : now ? "1" : "2", word);
  }
  return lines;
}

double last_step(const StageRecord& stage) {
  double step = 0.0;
  for (const auto& [name, points] : stage.metrics) step = std::max(step, points.back().x);
  return step;
}

/// Empty for a stage that counts none.
std::string steps_text(const LiveRecord& record) {
  if (record.stage()->metrics.empty() && record.goal.total == 0) return "";
  const double step = last_step(*record.stage());
  const std::string unit = record.goal.unit.empty() ? "step" : record.goal.unit.substr(0, record.goal.unit.size() - 1);
  return record.goal.total > 0 ? fmt::format("{} {:.0f}/{}", unit, step, record.goal.total)
                               : fmt::format("{} {:.0f}", unit, step);
}

std::string left_text(const LiveRecord& record, double now) {
  const double left = seconds_left(record, now);
  return left < 0.0 ? "" : format_seconds(left) + " left";
}

std::string bar(double share, std::size_t width) {
  const auto full = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
  std::string text;
  for (std::size_t i = 0; i < width; ++i) text += i < full ? "█" : "░";
  return text;
}

/// Seconds since the stage wrote a line; negative: it has none yet.
double silence(const LiveRecord& record, double now) {
  const auto written = record.stage()->last("unix_seconds");
  return written ? now - *written : -1.0;
}

void add_stage(const LiveRecord& record, const LiveLook& look, std::vector<std::string>& lines) {
  const StageRecord& stage = *record.stage();
  lines.push_back(paint(look, "1", stage.name) + " (" + stage.kind + ")  " + steps_text(record) + "  " +
                  left_text(record, look.now));
  if (record.goal.total > 0)
    lines.push_back(
        bar(last_step(stage) / static_cast<double>(record.goal.total), std::min<std::size_t>(60, look.width)));
  for (const Followed& followed : kFollowed)
    if (is_shown(followed, stage))
      lines.push_back(fmt::format("{:<9} {:>9} {:<8} {}", followed.label, value_text(*stage.last(followed.metric)),
                                  followed.unit, sparkline(stage.metrics.at(followed.metric), kCurveWidth)));
  const auto held = stage.metrics.lower_bound("held_out/");
  if (held != stage.metrics.end() && held->first.starts_with("held_out/")) {
    const auto held_out = headlines(stage);
    std::string text;
    for (const std::string& line : held_out) text += (text.empty() ? "" : ", ") + line;
    lines.push_back(text);
  }
  if (const auto rank = stage.last("straggler/rank")) {
    const auto own = stage.last("straggler/own_seconds"), median = stage.last("straggler/median_seconds");
    if (own && median)
      lines.push_back(fmt::format("slowest   rank {:.0f}, {:.3f} s a step of its own; the median is {:.3f} s", *rank,
                                  *own, *median));
  }
  constexpr double kWorthSaying = 60.0;
  if (const double quiet = silence(record, look.now); quiet > kWorthSaying && look.job_may_live)
    lines.push_back(paint(look, "33", fmt::format("nothing new for {}", format_seconds(quiet))));
  if (!record.checkpoint.empty())
    lines.push_back(
        fmt::format("saved     {}, {} ago", record.checkpoint, format_seconds(look.now - record.checkpoint_seconds)));
}

}  // namespace

double seconds_left(const LiveRecord& record, double now) {
  const StageRecord* stage = record.stage();
  if (stage == nullptr || record.goal.total == 0) return -1.0;
  const auto times = stage->metrics.find("unix_seconds");
  if (times == stage->metrics.end()) return -1.0;
  // The pace of the last steps of this job: one before it may have ended long ago.
  constexpr std::size_t kSteps = 20;
  const std::vector<ChartPoint>& points = times->second;
  const ChartPoint& last = points.back();
  const ChartPoint* first = &last;
  for (std::size_t i = points.size(); i-- > 0 && points.size() - i <= kSteps;)
    if (!record.job || points[i].y >= record.job->began) first = &points[i];
  if (last.x <= first->x) return -1.0;
  const double pace = (last.y - first->y) / (last.x - first->x);
  return std::max(0.0, pace * (static_cast<double>(record.goal.total) - last.x) - (now - last.y));
}

std::string sparkline(const std::vector<ChartPoint>& points, std::size_t width) {
  static constexpr std::array<const char*, 8> kSigns = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t count = std::min(points.size(), kCurvePoints), first = points.size() - count;
  const std::size_t columns = std::min(width, count);
  std::vector<double> means;
  for (std::size_t c = 0; c < columns; ++c) {
    const std::size_t begin = first + count * c / columns, end = first + count * (c + 1) / columns;
    double sum = 0.0;
    for (std::size_t i = begin; i < end; ++i) sum += points[i].y;
    means.push_back(sum / static_cast<double>(end - begin));
  }
  if (means.empty()) return "";
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  std::string text;
  for (const double mean : means) {
    const double share = *high > *low ? (mean - *low) / (*high - *low) : 0.5;
    text += kSigns[std::min<std::size_t>(7, static_cast<std::size_t>(share * 8.0))];
  }
  return text;
}

std::vector<std::string> live_view(const LiveRecord& record, const LiveLook& look) {
  std::vector<std::string> lines = {paint(look, "1", record.run.name) + "  " + state_text(record, look)};
  for (std::string& line : road_lines(record, look)) lines.push_back(std::move(line));
  if (record.now) {
    lines.emplace_back();
    add_stage(record, look, lines);
  }
  for (const std::string& warning : record.warnings) lines.push_back(paint(look, "33", warning));
  for (std::string& line : lines) line = cut_to(line, look.width);
  return lines;
}

std::string live_line(const LiveRecord& record, const LiveLook& look) {
  const auto done = std::count_if(record.run.stages.begin(), record.run.stages.end(),
                                  [](const StageRecord& stage) { return stage.complete; });
  if (!record.now)
    return fmt::format("{} of {} stages complete{}", done, record.run.stages.size(),
                       record.job ? fmt::format(", {}", state_text(record, look)) : "");
  const StageRecord& stage = *record.stage();
  std::string line = stage.name + " " + steps_text(record);
  int shown = 0;
  for (const Followed& followed : kFollowed)
    if (is_shown(followed, stage) && ++shown <= 3)
      line += fmt::format(" {} {}", followed.label, value_text(*stage.last(followed.metric)));
  if (const std::string left = left_text(record, look.now); !left.empty()) line += ", " + left;
  if (!record.checkpoint.empty()) line += ", saved " + record.checkpoint;
  if (record.job && (record.job->is != JobState::Is::running || !look.job_may_live))
    line += "; " + state_text(record, look);
  return line;
}

}  // namespace athanor
