// The page of a run: charts with round axes, what models wrote as text, files as they are found.
#include "jobs/report/report.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "jobs/report/sample_cards.hpp"
#include "jobs/report/stage_charts.hpp"
#include "src/base/error.hpp"
#include "tests/jobs/occurrences.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;

using testing::count;

ChartSeries line_of(std::size_t points, double (*value)(double)) {
  ChartSeries series{"loss", {}};
  for (std::size_t i = 1; i <= points; ++i)
    series.points.push_back({static_cast<double>(i), value(static_cast<double>(i))});
  return series;
}

// Numbers as people write them.
TEST(SvgChart, ShortNumbers) {
  EXPECT_EQ(short_number(0.0), "0");
  EXPECT_EQ(short_number(9999.0), "9999");
  EXPECT_EQ(short_number(12345.0), "12.3k");
  EXPECT_EQ(short_number(8192000.0), "8.19M");
  EXPECT_EQ(short_number(0.25), "0.25");
  EXPECT_EQ(short_number(1.5e-4), "1.5e-4");
  EXPECT_EQ(short_number(-2e-10), "-2e-10");
}

// Axes have round ticks inside their range; a share goes from 0 to 100 whatever the values; a logarithmic one has
// powers of ten.
TEST(SvgChart, DrawsRoundAxes) {
  const Chart linear{.title = "t", .unit = "u", .series = {line_of(50, [](double x) { return x / 10.0; })}};
  const std::string svg = chart_figure(linear);
  for (const char* tick : {">2</text>", ">4</text>", ">10</text>", ">50</text>"})
    EXPECT_NE(svg.find(tick), std::string::npos) << tick << svg;
  const Chart share{
      .title = "t", .unit = "", .scale = ChartScale::share, .series = {line_of(5, [](double) { return 0.5; })}};
  EXPECT_NE(chart_figure(share).find(">100</text>"), std::string::npos);
  EXPECT_NE(chart_figure(share).find("50.0 %"), std::string::npos);
  const Chart gap{.title = "t", .unit = "", .scale = ChartScale::logarithmic, .series = {line_of(20, [](double x) {
                                                                                return 1e-7 * x;
                                                                              })}};
  EXPECT_NE(chart_figure(gap).find(">1e-6</text>"), std::string::npos) << chart_figure(gap);
}

// What has no size still makes a chart: no points, one point, zeros on a logarithmic axis, values that are not finite.
TEST(SvgChart, SurvivesDegenerateSeries) {
  for (const ChartScale scale : {ChartScale::linear, ChartScale::logarithmic, ChartScale::share})
    for (const auto& points : std::vector<std::vector<ChartPoint>>{
             {}, {{1.0, 2.0}}, {{1.0, 0.0}, {2.0, 0.0}}, {{1.0, NAN}, {2.0, INFINITY}}, {{1.0, 5.0}, {2.0, 5.0}}}) {
      const std::string svg = chart_figure({.title = "t", .unit = "", .scale = scale, .series = {{"s", points}}});
      EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
      EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
    }
}

// A million steps make a small drawing; a noisy line is smoothed and kept faintly, a measured one has its dots and
// band.
TEST(SvgChart, ThinsAndSmooths) {
  const ChartSeries noisy = line_of(100000, [](double x) { return std::sin(x * 12.9898); });
  const std::string drawn = chart_figure({.title = "t", .unit = "", .series = {noisy}});
  EXPECT_LT(drawn.size(), 20000U);
  EXPECT_NE(drawn.find("class=\"faint\""), std::string::npos);
  ChartSeries measured = line_of(7, [](double x) { return x; });
  measured.marked = true;
  for (ChartPoint& point : measured.points) point.error = 0.1;
  const std::string dots = chart_figure({.title = "t", .unit = "", .series = {measured}});
  EXPECT_EQ(count(dots, "<circle"), 7U);
  EXPECT_EQ(count(dots, "class=\"band\""), 1U);
  EXPECT_EQ(dots.find("class=\"faint\""), std::string::npos);
}

StageRecord some_stage() {
  StageRecord stage;
  stage.name = "r1_zero";
  stage.kind = "rl";
  for (double step = 1.0; step <= 10.0; ++step) {
    stage.metrics["reward/mean"].push_back({step, 0.1 * step});
    stage.metrics["reward/accuracy/mean"].push_back({step, 0.1 * step});
    stage.metrics["reward/format/mean"].push_back({step, 1.0});
    stage.metrics["kl"].push_back({step, 0.0});
    stage.metrics["something_else"].push_back({step, 1.0});
  }
  stage.metrics["held_out/pass@1"] = {{0.0, 0.2}, {10.0, 0.8}};
  stage.metrics["held_out/pass@1_error"] = {{0.0, 0.02}, {10.0, 0.01}};
  return stage;
}

// A stage has the charts of the metrics it has: what is switched off has none, every reward is a line, errors are
// bands.
TEST(StageCharts, ChooseByMetric) {
  const std::vector<Chart> charts = stage_charts(some_stage());
  ASSERT_EQ(charts.size(), 2U);
  EXPECT_EQ(charts[0].title, "Held-out problems solved");
  EXPECT_TRUE(charts[0].series[0].marked);
  EXPECT_NEAR(charts[0].series[0].points[1].error, 0.0196, 1e-12);
  EXPECT_EQ(charts[1].title, "Reward");
  ASSERT_EQ(charts[1].series.size(), 3U);
  EXPECT_EQ(charts[1].series[1].label, "accuracy");
  EXPECT_EQ(charts[1].series[2].label, "format");
}

// One file: no script, nothing from elsewhere, and what a model wrote is text.
TEST(ReportPage, StandsAlone) {
  RunRecord run;
  run.name = "run <1>";
  run.stages.push_back(some_stage());
  run.stages[0].samples.push_back({{"step", 1},
                                   {"prompt", "1+1"},
                                   {"completion", "<script>alert(\"x\")</script><img src=http://example>"},
                                   {"answer", "2"},
                                   {"reward", 0.0},
                                   {"advantage", -1.0}});
  const std::string page = report_page(run);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(&quot;x&quot;)"), std::string::npos);
  EXPECT_EQ(page.find("src="), page.find("src=http://example"));
  EXPECT_NE(page.find("<h1>run &lt;1&gt;</h1>"), std::string::npos);
  EXPECT_NE(page.find("sample bad"), std::string::npos);
  EXPECT_EQ(page, report_page(run));
}

// A run in the middle of a line is read up to there; a folder without a run is refused.
TEST(RunRecord, ReadsARunThatGoesOn) {
  const fs::path folder = fs::temp_directory_path() / ("athanor_report_" + std::to_string(getpid()));
  fs::create_directories(folder / "stages" / "base");
  EXPECT_THROW(read_run(folder), ConfigError);
  std::ofstream(folder / "config.resolved.cfg")
      << "[recipe]\nstage = base\nstage = zero\n[base]\nkind = pretrain\n[zero]\nkind = rl\ninit = base\n";
  std::ofstream(folder / "stages" / "base" / "metrics.jsonl")
      << "{\"stage\":\"base\",\"step\":1,\"loss\":6.5}\n{\"stage\":\"base\",\"step\":2,\"loss\":null}\nbroken\n"
      << "{\"stage\":\"base\",\"step\":3,\"loss\":5.5}\n{\"stage\":\"base\",\"step\":4,\"lo";
  const RunRecord run = read_run(folder);
  ASSERT_EQ(run.stages.size(), 2U);
  EXPECT_EQ(run.stages[1].init(), "base");
  EXPECT_FALSE(run.stages[1].begun);
  EXPECT_EQ(run.stages[0].kind, "pretrain");
  EXPECT_FALSE(run.stages[0].complete);
  ASSERT_EQ(run.stages[0].metrics.at("loss").size(), 2U);
  EXPECT_EQ(run.stages[0].metrics.at("loss")[1].x, 3.0);
  write_report(folder);
  EXPECT_TRUE(fs::exists(folder / "report.html"));
  fs::remove_all(folder);
}

// Data that was sampled: what was kept and why the rest was not, shares of all completions, and conversations as text.
TEST(SampleCards, SayWhatWasKept) {
  StageRecord stage;
  stage.kind = "rejection_sampling";
  EXPECT_EQ(sampling_figure(stage), "");
  stage.sampling = {{"problems", 4}, {"kept", 2}, {"rejected", {{"wrong", 5}, {"too_long", 1}, {"repetitive", 0}}}};
  stage.kept_conversations.push_back(
      {{"messages",
        {{{"role", "user"}, {"content", "1+1"}},
         {{"role", "assistant"}, {"reasoning_content", "<b>1+1=2.</b>"}, {"content", "The answer is 2."}}}},
       {"language", "en"},
       {"task", "arithmetic"}});
  const std::string html = sampling_figure(stage);
  EXPECT_EQ(count(html, "class=\"bar\""), 3U);
  EXPECT_NE(html.find("8 completions of 4 problems"), std::string::npos);
  EXPECT_NE(html.find("width:62.50%"), std::string::npos);
  EXPECT_NE(html.find("<pre class=\"thought\">&lt;b&gt;1+1=2.&lt;/b&gt;</pre><pre>The answer is 2.</pre>"),
            std::string::npos)
      << html;
  EXPECT_NE(html.find("arithmetic · en"), std::string::npos);
}

// One metric means different things in stages of different kinds.
TEST(StageCharts, FollowTheKind) {
  StageRecord stage;
  stage.kind = "reward_model";
  stage.metrics["loss"] = {{1.0, 0.7}, {2.0, 0.6}};
  stage.metrics["accuracy"] = {{1.0, 0.5}, {2.0, 0.9}};
  std::vector<Chart> charts = stage_charts(stage);
  ASSERT_EQ(charts.size(), 2U);
  EXPECT_EQ(charts[0].title, "Comparisons judged right");
  EXPECT_EQ(charts[1].unit, "nats a comparison");
  stage.kind = "rl";
  charts = stage_charts(stage);
  ASSERT_EQ(charts.size(), 2U);
  EXPECT_EQ(charts[0].title, "Right answers in rollouts");
  EXPECT_EQ(charts[1].title, "Policy loss");
}

}  // namespace
}  // namespace athanor
