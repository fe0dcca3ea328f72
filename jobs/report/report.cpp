#include "jobs/report/report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "io/checkpoint/durable.hpp"
#include "jobs/report/stage_charts.hpp"

namespace athanor {
namespace {
using nlohmann::json;

constexpr std::string_view kStyle = R"css(
:root{--page:#f6f6f3;--card:#fff;--text:#1f2328;--quiet:#687076;--rule:#e4e4df;--grid:#eeeeea;
--c0:#2463c7;--c1:#d9632a;--c2:#25875a;--c3:#8450b8;--c4:#a98400;--c5:#b03060;--good:#25875a;--bad:#b5432c}
@media (prefers-color-scheme:dark){:root{--page:#16181b;--card:#1f2226;--text:#e6e8ea;--quiet:#98a0a8;--rule:#33383d;
--grid:#2a2e33;--c0:#6da3f5;--c1:#f0945f;--c2:#5fc292;--c3:#b890e6;--c4:#dcbc45;--c5:#e77fa6;--good:#5fc292;--bad:#f08a72}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1360px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;margin:0 0 2px;letter-spacing:-.01em}
h2{font-size:20px;margin:44px 0 12px;padding-top:18px;border-top:1px solid var(--rule)}
h2 small{font-weight:400;color:var(--quiet);font-size:14px;margin-left:8px}
h3{font-size:15px;margin:22px 0 8px}
p.lead{color:var(--quiet);margin:0 0 18px}
nav a{color:var(--c0);text-decoration:none;margin-right:14px}
.facts{display:flex;flex-wrap:wrap;gap:10px;margin:0 0 16px}
.facts div{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:8px 14px;min-width:104px}
.facts b{display:block;font-size:18px;font-variant-numeric:tabular-nums}
.facts span{color:var(--quiet);font-size:12.5px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(370px,1fr));gap:14px}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px 12px 4px}
figcaption b{font-weight:600;font-size:14px}figcaption i{color:var(--quiet);font-style:normal;font-size:12.5px;margin-left:4px}
.legend{min-height:22px;font-size:12.5px;color:var(--quiet);display:flex;flex-wrap:wrap;gap:2px 14px}
.legend b{color:var(--text);font-weight:600;font-variant-numeric:tabular-nums}
.legend span::before{content:"";display:inline-block;width:12px;height:3px;border-radius:2px;background:var(--c);margin-right:6px;vertical-align:3px}
figure svg{display:block;width:100%;height:auto}
svg text{font-size:11px;fill:var(--quiet);font-variant-numeric:tabular-nums}
.grid{stroke:var(--grid);fill:none}.axis,.tick{stroke:var(--rule);fill:none}
.line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.faint{fill:none;stroke:var(--c);stroke-width:1;opacity:.22}
.band{fill:var(--c);opacity:.13;stroke:none}circle{fill:var(--c);stroke:var(--card);stroke-width:1}
.series-0{--c:var(--c0)}.series-1{--c:var(--c1)}.series-2{--c:var(--c2)}.series-3{--c:var(--c3)}.series-4{--c:var(--c4)}.series-5{--c:var(--c5)}
.wide{overflow-x:auto}table{border-collapse:collapse;background:var(--card);border:1px solid var(--rule);border-radius:10px;font-variant-numeric:tabular-nums;margin:0 0 16px}
th,td{padding:6px 11px;font-size:14px;text-align:right;border-top:1px solid var(--rule);white-space:nowrap}th{font-weight:600;font-size:13px;color:var(--quiet);border-top:0}
th:first-child,td:first-child{text-align:left}td small{color:var(--quiet)}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(370px,1fr));gap:10px}
.sample{background:var(--card);border:1px solid var(--rule);border-left:4px solid var(--rule);border-radius:8px;padding:10px 12px;min-width:0}
.sample.good{border-left-color:var(--good)}.sample.bad{border-left-color:var(--bad)}
.sample pre{margin:4px 0 6px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:220px;overflow-y:auto;font:12.5px/1.45 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.sample .ask{color:var(--quiet)}.sample p{margin:0;font-size:12.5px;color:var(--quiet)}
details{margin-top:36px}summary{cursor:pointer;color:var(--quiet)}
details pre{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px;overflow-x:auto;font-size:12.5px}
)css";

std::string facts_of(const StageRecord& stage) {
  std::string html;
  for (const auto& [name, value] : stage.summary) {
    if (stage.kind == "evaluate" && name.find('@') != std::string::npos) continue;  // stands in its table
    // A whole number as it is read best.
    const bool whole = !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
    html += fmt::format("<div><b>{}</b><span>{}</span></div>",
                        html_escaped(whole && value.size() < 16 ? short_number(std::stod(value)) : value),
                        html_escaped(name));
  }
  return html.empty() ? "" : "<div class=\"facts\">" + html + "</div>\n";
}

std::string percent_cell(const json& share) {
  return share.is_number() ? fmt::format("{:.1f}", 100.0 * share.get<double>()) : "-";
}

std::string estimate_cell(const json& estimate) {
  return fmt::format("{:.1f} <small>± {:.1f}</small>", 100.0 * estimate.at("value").get<double>(),
                     100.0 * estimate.at("error").get<double>());
}

std::string benchmarks_of(const StageRecord& stage) {
  if (!stage.results.is_object() || !stage.results.contains("benchmarks")) return "";
  std::string html =
      "<div class=\"wide\"><table><tr><th>benchmark</th><th>problems</th><th>samples</th><th>pass@1 %</th><th>pass@k "
      "%</th><th>maj@k %</th><th>tokens</th><th>cut short %</th><th>well formed %</th><th>think first "
      "%</th><th>language "
      "%</th></tr>";
  for (const json& benchmark : stage.results["benchmarks"]) {
    const auto samples = benchmark.at("samples").get<std::int64_t>();
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1f}</td><td>{}</td><td>{}</td>"
        "<td>{}</td><td>{}</td></tr>",
        html_escaped(benchmark.at("name").get<std::string>()), benchmark.at("problems").get<std::int64_t>(), samples,
        estimate_cell(benchmark.at("pass@1")), estimate_cell(benchmark.at("pass@k").at(std::to_string(samples))),
        estimate_cell(benchmark.at("maj@k")), benchmark.at("completion_length").get<double>(),
        percent_cell(benchmark.at("truncated")), percent_cell(benchmark.at("well_formed")),
        percent_cell(benchmark.at("thinking")), percent_cell(benchmark.at("language_consistency")));
  }
  return html + "</table></div>\n";
}

std::string sample_card(const json& sample) {
  const auto text = [&](const char* name) { return html_escaped(sample.value(name, "")); };
  std::string state, note;
  if (const auto right = sample.find("right"); right != sample.end() && right->is_boolean())
    state = right->get<bool>() ? "good" : "bad";
  if (const auto reward = sample.find("reward"); reward != sample.end() && reward->is_number()) {
    const double advantage = sample.value("advantage", 0.0);
    state = advantage > 0.0 ? "good" : advantage < 0.0 ? "bad" : "";
    note = fmt::format(" · reward {} · advantage {:+.2f}", short_number(reward->get<double>()), advantage);
  }
  if (const std::string benchmark = text("benchmark"); !benchmark.empty()) note += " · " + benchmark;
  return fmt::format(
      "<div class=\"sample {}\"><pre class=\"ask\">{}</pre><pre>{}</pre><p>wanted <b>{}</b>{}</p></div>\n", state,
      text("prompt"), text("completion"), text("answer"), note);
}

/// Of rl the completions of the first, the middle and the last rollout; of others the first ones.
std::string samples_of(const StageRecord& stage) {
  constexpr std::size_t kMostCards = 9;
  if (stage.samples.empty()) return "";
  std::vector<std::int64_t> steps;
  for (const json& sample : stage.samples)
    if (const std::int64_t step = sample.value("step", std::int64_t{-1}); steps.empty() || steps.back() != step)
      steps.push_back(step);
  std::vector<std::int64_t> chosen{steps.front(), steps[steps.size() / 2], steps.back()};
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  std::string html;
  for (const std::int64_t step : chosen) {
    html += step < 0 ? "<h3>Completions</h3>" : fmt::format("<h3>Completions before step {}</h3>", step);
    html += "<div class=\"samples\">\n";
    std::size_t cards = 0;
    for (const json& sample : stage.samples)
      if (sample.value("step", std::int64_t{-1}) == step && cards++ < kMostCards) html += sample_card(sample);
    html += "</div>\n";
  }
  return html;
}

std::string stage_section(const StageRecord& stage) {
  std::string html = fmt::format("<h2 id=\"{0}\">{0} <small>{1}{2}</small></h2>\n", html_escaped(stage.name),
                                 html_escaped(stage.kind), stage.complete ? "" : " · not complete");
  html += facts_of(stage) + benchmarks_of(stage);
  const std::vector<Chart> charts = stage_charts(stage);
  if (!charts.empty()) {
    html += "<div class=\"charts\">\n";
    for (const Chart& chart : charts) html += chart_figure(chart);
    html += "</div>\n";
  }
  return html + samples_of(stage);
}

}  // namespace

std::string report_page(const RunRecord& run) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>{0}</title><style>{1}</style></head><body><main>\n"
      "<h1>{0}</h1><p class=\"lead\">",
      html_escaped(run.name), kStyle);
  std::size_t complete = 0;
  for (const StageRecord& stage : run.stages) complete += stage.complete ? 1U : 0U;
  html += fmt::format("{} of {} stages complete</p><nav>", complete, run.stages.size());
  for (const StageRecord& stage : run.stages) html += fmt::format("<a href=\"#{0}\">{0}</a>", html_escaped(stage.name));
  html += "</nav>\n";
  for (const StageRecord& stage : run.stages) html += stage_section(stage);
  return html + fmt::format("<details><summary>Configuration</summary><pre>{}</pre></details>\n</main></body></html>\n",
                            html_escaped(run.config));
}

void write_report(const std::filesystem::path& run_folder) {
  replace_text_file(run_folder / "report.html", report_page(read_run(run_folder)));
}

}  // namespace athanor
