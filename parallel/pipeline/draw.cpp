#include "parallel/pipeline/draw.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace athanor {
namespace {

/// How many chunks of the same rank stand before each chunk.
std::vector<int> places_on_rank(const PipelineSchedule& schedule) {
  std::vector<int> places, count(static_cast<std::size_t>(schedule.num_ranks));
  for (const int rank : schedule.chunk_rank) places.push_back(count[static_cast<std::size_t>(rank)]++);
  return places;
}

/// An action's halves: itself, or F and B of a pair.
std::vector<Action> halves_of(const Action& action) {
  if (action.phase != Phase::FB) return {action};
  return {{Phase::F, action.chunk, action.micro_batch}, {Phase::B, action.chunk_b, action.micro_batch_b}};
}

char letter_of(Phase phase) { return "FIWB"[static_cast<std::size_t>(phase)]; }

template <class Visit>  // visit(rank, action, interval)
void each_action(const PipelineSchedule& schedule, const ScheduleTimes& times, Visit visit) {
  for (std::size_t rank = 0; rank < schedule.rank_programs.size(); ++rank)
    for (std::size_t i = 0; i < schedule.rank_programs[rank].size(); ++i)
      visit(rank, schedule.rank_programs[rank][i], times.actions[rank][i]);
}

// ---- SVG

constexpr double kLeft = 56.0, kTop = 74.0, kRow = 30.0, kBox = 26.0, kCharacter = 6.2;

struct Colour {
  int red, green, blue;
};

/// The phase's colour, mixed with white for the rank's later chunks.
Colour colour_of(Phase phase, int place) {
  constexpr Colour kColours[] = {{86, 145, 214}, {240, 150, 60}, {232, 196, 70}, {92, 176, 106}};  // F I W B
  const Colour full = kColours[static_cast<std::size_t>(phase)];
  const double white = 1.0 - std::pow(0.6, place);
  const auto mix = [white](int part) { return static_cast<int>(std::lround(part + (255 - part) * white)); };
  return {mix(full.red), mix(full.green), mix(full.blue)};
}

/// XML text. The name of a schedule comes from a file.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else if (static_cast<unsigned char>(c) >= 0x20)
      out += c;
  }
  return out;
}

std::string box(double x, double y, double width, double height, Colour colour, std::string_view label) {
  std::string svg =
      fmt::format("<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"#{:02x}{:02x}{:02x}\"/>\n",
                  x, y, width, height, colour.red, colour.green, colour.blue);
  if (static_cast<double>(label.size()) * kCharacter <= width)
    svg += fmt::format("<text x=\"{:.2f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x + width / 2,
                       y + height / 2 + 3.6, label);
  return svg;
}

/// 1, 2 or 5 times a power of ten, at least `least`.
double round_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least) return factor * power;
  return 10.0 * power;
}

/// Points of a unit of time: the picture is about 1500 wide, and wider where the shortest action would not show its
/// number.
double unit_width(const PipelineSchedule& schedule, const ScheduleTimes& times) {
  double shortest = times.makespan;
  each_action(schedule, times, [&](std::size_t, const Action&, const Interval& interval) {
    if (interval.end > interval.begin) shortest = std::min(shortest, interval.end - interval.begin);
  });
  if (shortest <= 0.0) return 1.0;
  const double number = kCharacter * static_cast<double>(std::to_string(schedule.num_micro_batches - 1).size()) + 1.5;
  const double most = std::min(kBox * 1.6 / shortest, 6000.0 / times.makespan);
  return std::min(std::max(number / shortest, 1500.0 / times.makespan), most);
}

std::string axis(double makespan, double unit, double y, double height) {
  std::string svg;
  const double step = round_step(44.0 / unit);
  for (int tick = 0; tick * step <= makespan * (1.0 + 1e-12); ++tick) {
    const double x = kLeft + tick * step * unit;
    svg += fmt::format("<path d=\"M{:.2f} {:.1f}v{:.1f}\" stroke=\"#d0d0d0\"/>\n", x, y - height, height + 4);
    svg += fmt::format("<text x=\"{:.2f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:g}</text>\n", x, y + 16, tick * step);
  }
  return svg;
}

std::string legend(const PipelineSchedule& schedule) {
  constexpr std::pair<Phase, const char*> kPhases[] = {
      {Phase::F, "forward"}, {Phase::I, "gradient of input"}, {Phase::W, "gradient of weights"}, {Phase::B, "both"}};
  std::string svg;
  double x = kLeft;
  for (const auto& [phase, words] : kPhases) {
    const bool used =
        std::any_of(schedule.rank_programs.begin(), schedule.rank_programs.end(), [&](const auto& program) {
          return std::any_of(program.begin(), program.end(), [&](const Action& action) {
            const auto halves = halves_of(action);
            return std::any_of(halves.begin(), halves.end(), [&](const Action& half) { return half.phase == phase; });
          });
        });
    if (!used) continue;
    svg += box(x, 50, 14, 14, colour_of(phase, 0), "");
    svg += fmt::format("<text x=\"{:.1f}\" y=\"61\">{} {}</text>\n", x + 19, letter_of(phase), words);
    x += 19 + kCharacter * static_cast<double>(std::string_view(words).size() + 4);
  }
  if (schedule.num_chunks > schedule.num_ranks)
    svg += fmt::format("<text x=\"{:.1f}\" y=\"61\">lighter: later chunks of the rank</text>\n", x);
  return svg;
}

}  // namespace

std::string idle_words(const ScheduleTimes& times) {
  const auto [least_busy, most_busy] = std::minmax_element(times.busy.begin(), times.busy.end());
  const double most = times.makespan - *least_busy, least = times.makespan - *most_busy;
  const std::string share = fmt::format("({:.1f} %)", 100.0 * times.idle_share());
  return most - least < 1e-9 * times.makespan ? fmt::format("{:g} units {}", most, share)
                                              : fmt::format("{:g} to {:g} units {}", least, most, share);
}

std::string draw_text(const PipelineSchedule& schedule, const ScheduleTimes& times, int max_columns) {
  const std::vector<int> places = places_on_rank(schedule);
  const auto label_of = [&](const Action& action) {
    std::string label;
    for (const Action& half : halves_of(action))
      label += fmt::format("{}{}{}{}", label.empty() ? "" : "/", letter_of(half.phase), half.micro_batch,
                           std::string(static_cast<std::size_t>(places[static_cast<std::size_t>(half.chunk)]), '\''));
    return label;
  };

  // Columns of a unit: all labels with a blank behind them, unless that is too wide; at least one for the shortest.
  double wanted = 0.0, shortest = std::numeric_limits<double>::max();
  each_action(schedule, times, [&](std::size_t, const Action& action, const Interval& interval) {
    const double length = interval.end - interval.begin;
    if (length <= 0.0) return;
    wanted = std::max(wanted, static_cast<double>(label_of(action).size() + 1) / length);
    shortest = std::min(shortest, length);
  });
  if (wanted == 0.0) return "";
  double columns = std::max(std::min(wanted, max_columns / times.makespan), 1.0 / shortest);
  if (columns > 1.0) columns = std::floor(columns);  // actions of one length look alike

  const auto column_of = [columns](double time) { return static_cast<std::size_t>(std::lround(time * columns)); };
  const std::size_t width = column_of(times.makespan);
  std::vector<std::string> rows(schedule.rank_programs.size(), std::string(width, '.'));
  each_action(schedule, times, [&](std::size_t rank, const Action& action, const Interval& interval) {
    const std::size_t begin = column_of(interval.begin), end = column_of(interval.end);
    std::string label = label_of(action);
    if (label.size() > end - begin) label = action.phase == Phase::FB ? "FB" : std::string(1, letter_of(action.phase));
    label.resize(end - begin, ' ');
    rows[rank].replace(begin, end - begin, label);
  });
  std::string text;
  for (std::size_t rank = 0; rank < rows.size(); ++rank) text += fmt::format("{:>4} |{}|\n", rank, rows[rank]);
  return text;
}

std::string draw_svg(const PipelineSchedule& schedule, const ScheduleTimes& times) {
  const std::vector<int> places = places_on_rank(schedule);
  const double ranks_height = kRow * schedule.num_ranks;
  const double unit = unit_width(schedule, times);
  const double width = std::max(kLeft + times.makespan * unit + 20, 640.0), height = kTop + ranks_height + 30;

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "font-family=\"DejaVu Sans, Arial, sans-serif\" font-size=\"10\" fill=\"#202020\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      width, height);
  svg += fmt::format(
      "<text x=\"{}\" y=\"20\" font-size=\"15\">{}: {} ranks, {} chunks, {} micro-batches</text>\n"
      "<text x=\"{}\" y=\"38\" font-size=\"11\">idle {} of {:g}; peak activations by rank: {}</text>\n",
      kLeft, escaped(schedule.name), schedule.num_ranks, schedule.num_chunks, schedule.num_micro_batches, kLeft,
      idle_words(times), times.makespan, fmt::join(times.peak_activations, " "));
  svg += legend(schedule);
  svg += axis(times.makespan, unit, kTop + ranks_height, ranks_height);
  for (int rank = 0; rank < schedule.num_ranks; ++rank)
    svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">rank {}</text>\n", kLeft - 8,
                       kTop + kRow * rank + kBox / 2 + 4, rank);
  each_action(schedule, times, [&](std::size_t rank, const Action& action, const Interval& interval) {
    const double x = kLeft + interval.begin * unit, gap = 0.6;
    const double y = kTop + kRow * static_cast<double>(rank);
    const double box_width = std::max((interval.end - interval.begin) * unit - gap, 0.2);
    const auto halves = halves_of(action);
    const double box_height = kBox / static_cast<double>(halves.size());
    for (std::size_t i = 0; i < halves.size(); ++i)
      svg += box(x, y + box_height * static_cast<double>(i), box_width, box_height,
                 colour_of(halves[i].phase, places[static_cast<std::size_t>(halves[i].chunk)]),
                 std::to_string(halves[i].micro_batch));
  });
  return svg + "</svg>\n";
}

}  // namespace athanor
