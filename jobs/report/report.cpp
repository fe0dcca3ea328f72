#include "jobs/report/report.hpp"

#include <fmt/format.h>

#include "io/checkpoint/durable.hpp"
#include "jobs/report/benchmark_tables.hpp"
#include "jobs/report/report_style.hpp"
#include "jobs/report/road.hpp"
#include "jobs/report/sample_cards.hpp"
#include "jobs/report/stage_charts.hpp"

namespace athanor {
namespace {
/// Of the benchmark named at its beginning.
bool stands_in_table(const StageRecord& stage, const std::string& fact) {
  if (!stage.results.is_object() || !stage.results.contains("benchmarks")) return false;
  for (const auto& benchmark : stage.results["benchmarks"])
    if (fact.starts_with(benchmark.value("name", "") + " ")) return true;
  return false;
}

std::string facts_of(const StageRecord& stage) {
  std::string html;
  for (const auto& [name, value] : stage.summary) {
    if (stands_in_table(stage, name)) continue;
    // A whole number as it is read best.
    const bool whole = !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
    html += fmt::format("<div><b>{}</b><span>{}</span></div>",
                        html_escaped(whole && value.size() < 16 ? short_number(std::stod(value)) : value),
                        html_escaped(name));
  }
  return html.empty() ? "" : "<div class=\"facts\">" + html + "</div>\n";
}

std::string stage_section(const StageRecord& stage) {
  std::string html =
      fmt::format("<h2 id=\"{0}\">{0} <small>{1}{2}</small></h2>\n", html_escaped(stage.name), html_escaped(stage.kind),
                  stage.complete ? ""
                  : stage.begun  ? " · not complete"
                                 : " · waiting");
  html += facts_of(stage) + benchmarks_table(stage);
  const std::vector<Chart> charts = stage_charts(stage);
  if (!charts.empty()) {
    html += "<div class=\"charts\">\n";
    for (const Chart& chart : charts) html += chart_figure(chart);
    html += "</div>\n";
  }
  return html + sampling_figure(stage) + sample_cards(stage);
}

}  // namespace

std::string report_page(const RunRecord& run) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>{0}</title><style>{1}</style></head><body><main>\n"
      "<h1>{0}</h1><p class=\"lead\">",
      html_escaped(run.name), kReportStyle);
  std::size_t complete = 0;
  for (const StageRecord& stage : run.stages) complete += stage.complete ? 1U : 0U;
  html += fmt::format("{} of {} stages complete</p><nav>", complete, run.stages.size());
  for (const StageRecord& stage : run.stages) html += fmt::format("<a href=\"#{0}\">{0}</a>", html_escaped(stage.name));
  html += "</nav>\n";
  if (const std::string road = road_figure(run); !road.empty()) html += "<h2>The road</h2>\n" + road;
  if (const std::string table = models_table(run); !table.empty())
    html += "<h2>Models and benchmarks <small>± one standard error; rewards are means</small></h2>\n" + table;
  for (const StageRecord& stage : run.stages) html += stage_section(stage);
  return html + fmt::format("<details><summary>Configuration</summary><pre>{}</pre></details>\n</main></body></html>\n",
                            html_escaped(run.config));
}

void write_report(const std::filesystem::path& run_folder) {
  replace_text_file(run_folder / "report.html", report_page(read_run(run_folder)));
}

}  // namespace athanor
