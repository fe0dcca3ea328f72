// Line charts as inline SVG, for pages without scripts. Law: pure; the same chart gives the same bytes. Colours are CSS
// classes (series-0, series-1, ...), so the page decides them. Numbers that are not finite are left out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace athanor {

struct ChartPoint {
  double x = 0.0, y = 0.0;
  double error = 0.0;  ///< half the height of the band around the line
};

struct ChartSeries {
  std::string label;
  std::vector<ChartPoint> points;  ///< by rising x
  bool marked = false;  ///< few, exact measurements: a dot each; else a line that is smoothed where it is noisy
};

enum class ChartScale : std::uint8_t {
  linear,
  logarithmic,  ///< linear where no value is above 0
  share         ///< values from 0 to 1, shown as 0 to 100 %
};

struct Chart {
  std::string title, unit;  ///< unit: of the y axis, "nats a token"
  std::string x_label = "step";
  ChartScale scale = ChartScale::linear;
  bool from_zero = false;  ///< the y axis begins at 0
  std::vector<ChartSeries> series;
  std::vector<std::pair<double, std::string>> x_ticks{};  ///< empty: round numbers
};

/// A <figure> with title, last values as legend, axes and lines.
std::string chart_figure(const Chart& chart);

/// "12.3k", "4.1M", "0.0031", "1.2e-6".
std::string short_number(double value);
/// With &, <, > and quotes written so that text stays text.
std::string html_escaped(std::string_view text);

}  // namespace athanor
