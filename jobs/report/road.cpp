#include "jobs/report/road.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "jobs/report/road_layout.hpp"

namespace athanor {
namespace {

constexpr double kBoxHeight = 62.0, kMarkHeight = 18.0, kLayerGap = 26.0, kMargin = 10.0;
constexpr std::size_t kMostCharacters = 24;
constexpr std::array<const char*, 4> kLinkClasses{"weights", "data", "reward", "teacher"};

std::string state_of(const StageRecord& stage) {
  return stage.complete ? "complete" : stage.begun ? "begun" : "waiting";
}

std::string cut(const std::string& text) {
  return text.size() <= kMostCharacters ? text : text.substr(0, kMostCharacters - 1) + "…";
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100.0 * share); }

/// As many digits as a box has room for.
std::string few_digits(double value) {
  return std::abs(value) >= 1e-3 && std::abs(value) < 999.5 ? fmt::format("{:.3g}", value) : short_number(value);
}

/// pass@1 of the first benchmark of a stage that evaluates; empty before it has one.
std::string mark_text(const StageRecord& stage) {
  if (!stage.results.is_object()) return "";
  const auto benchmarks = stage.results.find("benchmarks");
  if (benchmarks == stage.results.end() || benchmarks->empty()) return "";
  return "pass@1 " + percent(benchmarks->front().at("pass@1").at("value").get<double>());
}

/// Boxes by stage, and the stages that measure each.
struct Drawing {
  std::vector<const StageRecord*> boxes;
  std::vector<std::vector<const StageRecord*>> marks;
  std::vector<RoadLine> lines;
  double box_width = 0.0;

  double left(std::size_t layer) const { return kMargin + static_cast<double>(layer) * (box_width + kLayerGap); }
};

Drawing drawing_of(const RunRecord& run) {
  Drawing drawing;
  std::map<std::string, std::size_t> box_of;
  double widest = 90.0;
  for (const StageRecord& stage : run.stages) {
    const auto measured = stage.kind == "evaluate" ? box_of.find(stage.init()) : box_of.end();
    if (measured != box_of.end()) {
      drawing.marks[measured->second].push_back(&stage);
      continue;
    }
    const std::size_t box = box_of[stage.name] = drawing.boxes.size();
    drawing.boxes.push_back(&stage);
    drawing.marks.emplace_back();
    // Of the broader of usual fonts; the browser's own is not known here.
    widest = std::max({widest, 7.2 * static_cast<double>(std::min(stage.name.size(), kMostCharacters)),
                       5.8 * static_cast<double>(stage.kind.size())});
    for (const std::string& line : headlines(stage)) widest = std::max(widest, 6.1 * static_cast<double>(line.size()));
    for (const StageLink& link : stage.links)
      if (const auto from = box_of.find(link.from); from != box_of.end())
        drawing.lines.push_back({from->second, box, static_cast<int>(link.kind)});
  }
  drawing.box_width = 18.0 + widest;
  return drawing;
}

std::string draw_piece(const Drawing& drawing, const RoadPiece& piece) {
  const char* kind = kLinkClasses.at(static_cast<std::size_t>(piece.kind));
  const double left = drawing.left(piece.layer), right = left + drawing.box_width;
  if (piece.lane)
    return fmt::format("<path class=\"link {}\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", kind, left, piece.from_y + kMargin,
                       right);
  const double end = right + kLayerGap - (piece.enters ? 6.0 : 0.0), middle = 0.5 * (right + end);
  const double from = piece.from_y + kMargin, to = piece.to_y + kMargin;
  std::string svg =
      fmt::format("<path class=\"link {}\" d=\"M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}\"/>", kind,
                  right, from, middle, from, middle, to, end, to);
  if (piece.enters) svg += fmt::format("<path class=\"head {}\" d=\"M{:.1f} {:.1f}l-8 -4v8Z\"/>", kind, end + 6.0, to);
  return svg;
}

std::string takes(const StageRecord& stage) {
  static constexpr std::array<const char*, 4> kWords{"begins from ", "learns what was kept by ", "rewarded by ",
                                                     "taught by "};
  std::string text;
  for (const StageLink& link : stage.links)
    text += (text.empty() ? "" : "; ") + std::string(kWords.at(static_cast<std::size_t>(link.kind))) + link.from;
  return text;
}

std::string draw_box(const StageRecord& stage, double x, double y, double width) {
  const std::string from = takes(stage);
  std::string svg = fmt::format(
      "<a href=\"#{0}\"><g class=\"stage {1}\"><title>{0}: {2}, {3}{4}</title><rect class=\"box\" x=\"{5:.1f}\" "
      "y=\"{6:.1f}\" width=\"{7:.1f}\" height=\"{8:.1f}\" rx=\"7\"/><rect class=\"state\" x=\"{5:.1f}\" y=\"{9:.1f}\" "
      "width=\"4\" height=\"{10:.1f}\" rx=\"2\"/><text class=\"name\" x=\"{11:.1f}\" y=\"{12:.1f}\">{13}</text>"
      "<text class=\"kind\" x=\"{11:.1f}\" y=\"{14:.1f}\">{15}</text>",
      html_escaped(stage.name), state_of(stage), html_escaped(stage.kind), state_of(stage),
      from.empty() ? "" : "; " + html_escaped(from), x, y, width, kBoxHeight, y + 7.0, kBoxHeight - 14.0, x + 11.0,
      y + 16.0, html_escaped(cut(stage.name)), y + 29.0, html_escaped(stage.kind));
  double line = y + 43.0;
  for (const std::string& text : headlines(stage)) {
    svg +=
        fmt::format("<text class=\"number\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", x + 11.0, line, html_escaped(text));
    line += 13.0;
  }
  return svg + "</g></a>";
}

std::string draw_mark(const StageRecord& stage, double x, double y, double width) {
  const std::string result = mark_text(stage);
  return fmt::format(
      "<a href=\"#{0}\"><g class=\"mark {1}\"><title>{0}: evaluates {2}, {1}</title><rect x=\"{3:.1f}\" y=\"{4:.1f}\" "
      "width=\"{5:.1f}\" height=\"{6:.1f}\" rx=\"5\"/><text x=\"{7:.1f}\" y=\"{8:.1f}\">{9}</text></g></a>",
      html_escaped(stage.name), state_of(stage), html_escaped(stage.init()), x + 6.0, y + 3.0, width - 12.0,
      kMarkHeight - 3.0, x + 13.0, y + 14.0, result.empty() ? html_escaped(cut(stage.name)) : result);
}

std::string legend_of(const Drawing& drawing) {
  static constexpr std::array<const char*, 4> kLabels{"begins from the weights", "learns from the data",
                                                      "rewarded by the model", "taught by the model"};
  std::string html = "<div class=\"keys\">";
  for (std::size_t kind = 0; kind < kLabels.size(); ++kind)
    if (std::any_of(drawing.lines.begin(), drawing.lines.end(),
                    [&](const RoadLine& line) { return line.kind == static_cast<int>(kind); }))
      html += fmt::format("<span><svg width=\"26\" height=\"8\"><path class=\"link {}\" d=\"M0 4H26\"/></svg>{}</span>",
                          kLinkClasses.at(kind), kLabels.at(kind));
  for (const char* state : {"complete", "begun", "waiting"})
    html += fmt::format("<span><i class=\"{0}\"></i>{0}</span>", state);
  return html + "</div>";
}

}  // namespace

std::vector<std::string> headlines(const StageRecord& stage) {
  std::vector<std::string> lines;
  const auto add = [&](const char* metric, const char* name, bool share) {
    if (const auto value = stage.last(metric); value && lines.size() < 2)
      lines.push_back(fmt::format("{} {}", name, share ? percent(*value) : few_digits(*value)));
  };
  const auto add_summary = [&](const char* key, const char* form) {
    if (const std::string value = stage.summary_of(key); !value.empty() && lines.size() < 2)
      lines.push_back(fmt::format(fmt::runtime(form), value));
  };
  const auto steps = stage.metrics.find(stage.kind == "rejection_sampling" ? "kept" : "loss");
  if (!stage.complete && steps != stage.metrics.end() && !steps->second.empty())
    lines.push_back(
        fmt::format("{} {:.0f}", stage.kind == "rejection_sampling" ? "problem" : "step", steps->second.back().x));
  if (stage.kind == "rl") {
    add("held_out/pass@1", "pass@1", true);
    add("held_out/completion_length", "tokens", false);
  } else if (stage.kind == "reward_model") {
    add("held_out/accuracy", "right", true);
    add_summary("comparisons held out", "of {} held out");
  } else if (stage.kind == "rejection_sampling") {
    add("kept", "kept", false);
    add_summary("accepted", "{} accepted");
  } else if (stage.kind == "evaluate") {
    if (const std::string text = mark_text(stage); !text.empty()) lines.push_back(text);
  } else {
    add("held_out/loss", "held out", false);
    if (!stage.metrics.contains("held_out/loss")) add("loss", "loss", false);
    if (stage.kind != "pretrain") add_summary("conversations", "{} conversations");
    if (stage.complete) add("tokens", "tokens", false);
  }
  return lines;
}

std::string road_figure(const RunRecord& run) {
  if (run.stages.size() < 2) return "";
  const Drawing drawing = drawing_of(run);
  std::vector<RoadBox> boxes;
  for (const auto& marks : drawing.marks)
    boxes.push_back({0.5 * kBoxHeight, 0.5 * kBoxHeight + kMarkHeight * static_cast<double>(marks.size())});
  const RoadPlan plan = lay_out_road(boxes, drawing.lines);
  const double width = drawing.left(plan.layers) - kLayerGap + kMargin, height = plan.height + 2.0 * kMargin;
  // As wide as the page, neither blown up nor too small to be read: narrower pages scroll.
  std::string html = fmt::format(
      "<figure class=\"road\">{}<div class=\"wide\"><svg viewBox=\"0 0 {:.0f} {:.0f}\" style=\"max-width:{:.0f}px;"
      "min-width:{:.0f}px\" role=\"img\" aria-label=\"The road\">",
      legend_of(drawing), width, height, 1.1 * width, 0.8 * width);
  for (const RoadPiece& piece : plan.pieces) html += draw_piece(drawing, piece);
  for (std::size_t b = 0; b < drawing.boxes.size(); ++b) {
    const double x = drawing.left(plan.boxes[b].layer), y = plan.boxes[b].y - 0.5 * kBoxHeight + kMargin;
    html += draw_box(*drawing.boxes[b], x, y, drawing.box_width);
    for (std::size_t m = 0; m < drawing.marks[b].size(); ++m)
      html +=
          draw_mark(*drawing.marks[b][m], x, y + kBoxHeight + kMarkHeight * static_cast<double>(m), drawing.box_width);
  }
  return html + "</svg></div></figure>\n";
}

}  // namespace athanor
