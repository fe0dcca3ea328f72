#include "jobs/report/svg_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace athanor {
namespace {

constexpr double kWidth = 420.0, kHeight = 210.0, kLeft = 52.0, kRight = 20.0, kTop = 10.0, kBottom = 38.0;
constexpr std::size_t kMostPoints = 400, kNoisyPoints = 60;
constexpr std::size_t kColours = 6;  ///< of the page: series-0 to series-5

using Points = std::vector<ChartPoint>;

/// Means of equal runs of points, so that a page of a million steps stays small.
Points thinned(const Points& points) {
  if (points.size() <= kMostPoints) return points;
  Points means;
  for (std::size_t b = 0; b < kMostPoints; ++b) {
    const std::size_t from = points.size() * b / kMostPoints, to = points.size() * (b + 1) / kMostPoints;
    ChartPoint mean;
    for (std::size_t i = from; i < to; ++i) {
      mean.x += points[i].x;
      mean.y += points[i].y;
      mean.error = std::max(mean.error, points[i].error);
    }
    mean.x /= static_cast<double>(to - from);
    mean.y /= static_cast<double>(to - from);
    means.push_back(mean);
  }
  return means;
}

/// The mean of a fortieth of the points around each; of fewer, as many on both sides, towards the ends. So it neither
/// lags nor bends a straight line.
Points smoothed(const Points& points) {
  std::vector<double> sums{0.0};
  for (const ChartPoint& point : points) sums.push_back(sums.back() + point.y);
  Points smooth = points;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t half = std::min({points.size() / 80 + 1, i, points.size() - 1 - i});
    smooth[i].y = (sums[i + half + 1] - sums[i - half]) / static_cast<double>(2 * half + 1);
  }
  return smooth;
}

/// 1, 2 or 5 times a power of ten, near `step`.
double round_step(double step) {
  const double power = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (step <= factor * power * 1.0001) return factor * power;
  return 10.0 * power;
}

struct ChartAxis {
  double low = 0.0, high = 1.0, from = 0.0, to = 1.0;  ///< of values, and where on the drawing
  bool logarithmic = false;

  double at(double value) const {
    const auto place = [&](double v) { return logarithmic ? std::log10(std::max(v, low)) : v; };
    return from + (to - from) * (place(value) - place(low)) / (place(high) - place(low));
  }
  std::vector<double> ticks(double count) const {
    std::vector<double> ticks;
    if (logarithmic) {
      const double first = std::ceil(std::log10(low) - 1e-9), last = std::floor(std::log10(high) + 1e-9);
      const double every = std::max(1.0, std::ceil((last - first + 1.0) / count));
      for (double power = first; power <= last; power += every) ticks.push_back(std::pow(10.0, power));
      return ticks;
    }
    const double step = round_step((high - low) / count);
    for (double tick = std::ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * step; tick += step)
      ticks.push_back(std::abs(tick) < 1e-9 * step ? 0.0 : tick);
    return ticks;
  }
};

struct Line {
  Points drawn, faint;  ///< faint: what `drawn` smooths
  bool marked;
};

std::vector<Line> lines_of(const Chart& chart, bool logarithmic) {
  std::vector<Line> lines;
  for (const ChartSeries& series : chart.series) {
    Points finite;
    for (const ChartPoint& point : series.points)
      if (std::isfinite(point.y) && (!logarithmic || point.y > 0.0)) finite.push_back(point);
    const bool noisy = !series.marked && finite.size() > kNoisyPoints;
    const Points thin = thinned(finite);
    lines.push_back({noisy ? thinned(smoothed(finite)) : thin, noisy ? thin : Points{}, series.marked});
  }
  return lines;
}

/// Wide enough for every drawn line and for all but the wildest hundredth of the faint ones.
ChartAxis y_axis(const Chart& chart, const std::vector<Line>& lines, bool logarithmic) {
  ChartAxis axis{.from = kHeight - kBottom, .to = kTop, .logarithmic = logarithmic};
  if (chart.scale == ChartScale::share) return axis;
  double low = INFINITY, high = -INFINITY;
  const auto include = [&](double value) {
    if (logarithmic && value <= 0.0) return;
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const Line& line : lines) {
    for (const ChartPoint& point : line.drawn) {
      include(point.y - point.error);
      include(point.y + point.error);
    }
    std::vector<double> values;
    for (const ChartPoint& point : line.faint) values.push_back(point.y);
    if (values.empty()) continue;
    std::sort(values.begin(), values.end());
    include(values[values.size() / 100]);
    include(values[values.size() - 1 - values.size() / 100]);
  }
  if (!(low <= high)) low = 0.0, high = 1.0;
  if (low == 0.0 && high == 0.0) return axis;
  if (logarithmic) {
    axis.low = std::pow(10.0, std::floor(std::log10(low)));
    axis.high = std::pow(10.0, std::ceil(std::log10(high)));
    if (axis.low == axis.high) axis.high *= 10.0;
    return axis;
  }
  if (chart.from_zero) low = std::min(low, 0.0);
  if (high - low < 1e-12 * std::max(1.0, std::abs(high))) high = low + std::max(1e-12, std::abs(low) * 0.1);
  const double room = 0.05 * (high - low);
  axis.low = chart.from_zero && low == 0.0 ? 0.0 : low - room;
  axis.high = high + room;
  return axis;
}

ChartAxis x_axis(const std::vector<Line>& lines) {
  ChartAxis axis{.from = kLeft, .to = kWidth - kRight};
  axis.low = INFINITY, axis.high = -INFINITY;
  for (const Line& line : lines)
    for (const ChartPoint& point : line.drawn) {
      axis.low = std::min(axis.low, point.x);
      axis.high = std::max(axis.high, point.x);
    }
  if (!(axis.low <= axis.high)) axis.low = 0.0, axis.high = 1.0;
  if (axis.low == axis.high) axis.low -= 0.5, axis.high += 0.5;
  return axis;
}

std::string shown(const Chart& chart, double value) {
  return chart.scale == ChartScale::share ? fmt::format("{:.1f} %", 100.0 * value) : short_number(value);
}

std::string x_shown(const Chart& chart, double x) {
  for (const auto& [tick, label] : chart.x_ticks)
    if (tick == x) return html_escaped(label);
  return short_number(x);
}

std::string path_of(const Points& points, const ChartAxis& x, const ChartAxis& y) {
  std::string path;
  for (const ChartPoint& point : points)
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.at(point.x), y.at(point.y));
  return path;
}

std::string band_of(const Points& points, const ChartAxis& x, const ChartAxis& y) {
  std::string path;
  for (const ChartPoint& point : points)
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.at(point.x), y.at(point.y + point.error));
  for (auto point = points.rbegin(); point != points.rend(); ++point)
    path += fmt::format("L{:.1f} {:.1f}", x.at(point->x), y.at(point->y - point->error));
  return path + "Z";
}

bool all_zero(const Chart& chart) {
  return std::all_of(chart.series.begin(), chart.series.end(), [](const ChartSeries& series) {
    return std::all_of(series.points.begin(), series.points.end(), [](const ChartPoint& p) { return p.y == 0.0; });
  });
}

std::string draw_axes(const Chart& chart, const ChartAxis& x, const ChartAxis& y) {
  std::string svg;
  const bool nothing = all_zero(chart);
  for (const double tick : y.ticks(5.0)) {
    if (nothing && chart.scale != ChartScale::share && tick != 0.0) continue;  // no scale where there is only 0
    const std::string label =
        chart.scale == ChartScale::share ? fmt::format("{:.0f}", 100.0 * tick) : short_number(tick);
    svg += fmt::format(
        "<path class=\"grid\" d=\"M{0:.1f} {1:.1f}H{2:.1f}\"/><text x=\"{3:.1f}\" y=\"{4:.1f}\" "
        "text-anchor=\"end\">{5}</text>",
        kLeft, y.at(tick), kWidth - kRight, kLeft - 6.0, y.at(tick) + 3.5, label);
  }
  std::vector<std::pair<double, std::string>> ticks = chart.x_ticks;
  if (ticks.empty())
    for (const double tick : x.ticks(6.0)) ticks.emplace_back(tick, short_number(tick));
  for (const auto& [tick, label] : ticks)
    svg += fmt::format(
        "<path class=\"tick\" d=\"M{0:.1f} {1:.1f}v4\"/><text x=\"{0:.1f}\" y=\"{2:.1f}\" "
        "text-anchor=\"middle\">{3}</text>",
        x.at(tick), y.from, y.from + 15.0, html_escaped(label));
  svg += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", kLeft, y.from, kWidth - kRight);
  return svg + fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
                           kWidth - kRight, kHeight - 6.0, html_escaped(chart.x_label));
}

std::string draw_line(const Chart& chart, const Line& line, std::size_t number, const ChartAxis& x,
                      const ChartAxis& y) {
  std::string svg = fmt::format("<g class=\"series-{}\">", number % kColours);
  if (std::any_of(line.drawn.begin(), line.drawn.end(), [](const ChartPoint& p) { return p.error > 0.0; }))
    svg += fmt::format("<path class=\"band\" d=\"{}\"/>", band_of(line.drawn, x, y));
  if (!line.faint.empty()) svg += fmt::format("<path class=\"faint\" d=\"{}\"/>", path_of(line.faint, x, y));
  svg += fmt::format("<path class=\"line\" d=\"{}\"/>", path_of(line.drawn, x, y));
  if (line.marked || line.drawn.size() == 1)
    for (const ChartPoint& point : line.drawn)
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\"><title>{} {}: {}{}</title></circle>",
                         x.at(point.x), y.at(point.y), html_escaped(chart.x_label), x_shown(chart, point.x),
                         shown(chart, point.y), point.error > 0.0 ? " ± " + shown(chart, point.error) : "");
  return svg + "</g>";
}

}  // namespace

std::string short_number(double value) {
  const double size = std::abs(value);
  if (size == 0.0) return "0";
  if (size >= 9999.5) {
    static constexpr std::array<std::pair<double, const char*>, 4> kUnits{
        {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};
    for (const auto& [unit, name] : kUnits)
      if (size >= 0.9995 * unit) return fmt::format("{:.3g}{}", value / unit, name);
  }
  if (size < 1e-3) {  // "1.5e-4": no zeros to fill the exponent
    std::string text = fmt::format("{:.1e}", value);
    const std::size_t e = text.find('e');
    std::string digits = text.substr(0, e);
    if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
    return fmt::format("{}e{}", digits, std::stoi(text.substr(e + 1)));
  }
  return fmt::format("{:.4g}", value);
}

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  return escaped;
}

std::string chart_figure(const Chart& chart) {
  bool logarithmic = false;
  if (chart.scale == ChartScale::logarithmic)
    for (const ChartSeries& series : chart.series)
      for (const ChartPoint& point : series.points)
        logarithmic = logarithmic || (std::isfinite(point.y) && point.y > 0.0);
  const std::vector<Line> lines = lines_of(chart, logarithmic);
  const ChartAxis x = x_axis(lines), y = y_axis(chart, lines, logarithmic);
  const std::string unit = chart.scale == ChartScale::share ? "%" : chart.unit;
  std::string html = fmt::format("<figure><figcaption><b>{}</b>{}</figcaption><div class=\"legend\">",
                                 html_escaped(chart.title), unit.empty() ? "" : " <i>" + html_escaped(unit) + "</i>");
  for (std::size_t s = 0; s < lines.size(); ++s)
    html +=
        fmt::format("<span class=\"series-{}\">{} <b>{}</b></span>", s % kColours, html_escaped(chart.series[s].label),
                    lines[s].drawn.empty() ? "-" : shown(chart, lines[s].drawn.back().y));
  // Wild values of a noisy line are cut at the frame.
  html += fmt::format(
      "</div><svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">{}<svg x=\"{:.0f}\" y=\"{:.0f}\" "
      "width=\"{:.0f}\" height=\"{:.0f}\" viewBox=\"{:.0f} {:.0f} {:.0f} {:.0f}\">",
      kWidth, kHeight, html_escaped(chart.title), draw_axes(chart, x, y), kLeft - 4.0, kTop - 6.0,
      kWidth - kLeft - kRight + 8.0, kHeight - kTop - kBottom + 12.0, kLeft - 4.0, kTop - 6.0,
      kWidth - kLeft - kRight + 8.0, kHeight - kTop - kBottom + 12.0);
  for (std::size_t s = lines.size(); s-- > 0;) html += draw_line(chart, lines[s], s, x, y);
  return html + "</svg></svg></figure>\n";
}

}  // namespace athanor
