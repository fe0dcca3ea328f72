// The road of a recipe on the page of its run: what stages take from each other, boxes and lines, the table of models.
#include "jobs/report/road.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "jobs/report/benchmark_tables.hpp"
#include "jobs/report/report.hpp"
#include "jobs/report/road_layout.hpp"
#include "tests/jobs/occurrences.hpp"

namespace athanor {
namespace {

using testing::count;

// What a stage takes from earlier ones is read from its options, each once; files and later stages are no stages.
TEST(StageLinks, NameEarlierStages) {
  const std::vector<std::string> earlier{"base", "kept", "helpful", "safety", "value"};
  JobOptions job;
  job.sft.data = {"stage:kept", "some.jsonl", "stage:later"};
  job.distill.teacher = "/a/folder";
  using enum LinkKind;
  EXPECT_EQ(stage_links({"distill", "base"}, job, earlier),
            (std::vector<StageLink>{{"base", weights}, {"kept", data}}));
  job.rl.prompts = {"arithmetic -> accuracy, learned:helpful(most=3) @ 0.2",
                    "arithmetic -> learned:helpful, learned:safety @ 0.1 | from 0.5"};
  job.rl.critic = "value";
  EXPECT_EQ(stage_links({"rl", "base"}, job, earlier),
            (std::vector<StageLink>{{"base", weights}, {"helpful", reward}, {"safety", reward}, {"value", reward}}));
  EXPECT_EQ(stage_links({"pretrain", ""}, job, earlier), std::vector<StageLink>{});
}

/// base -> zero -> kept (data) -> tuned, tuned begins from base again; zero is evaluated.
RunRecord small_recipe() {
  const auto stage = [](const char* name, const char* kind, std::vector<StageLink> links) {
    StageRecord record;
    record.name = name;
    record.kind = kind;
    record.links = std::move(links);
    return record;
  };
  RunRecord run;
  run.name = "small";
  run.stages.push_back(stage("base", "pretrain", {}));
  run.stages.push_back(stage("zero", "rl", {{"base", LinkKind::weights}}));
  run.stages.push_back(stage("kept", "rejection_sampling", {{"zero", LinkKind::weights}}));
  run.stages.push_back(stage("tuned", "sft", {{"base", LinkKind::weights}, {"kept", LinkKind::data}}));
  run.stages.push_back(stage("again", "rl", {{"tuned", LinkKind::weights}}));
  run.stages.push_back(stage("on_zero", "evaluate", {{"zero", LinkKind::weights}}));
  run.stages[0].complete = run.stages[1].begun = true;
  run.stages[4].metrics = {{"held_out/pass@1", {{10.0, 0.625}}}, {"held_out/pass@1_error", {{10.0, 0.02}}}};
  run.stages[4].held_out_problems = "sums";
  run.stages[1].metrics = {{"held_out/pass@1", {{10.0, 0.25}}}};  // the evaluation stands for it
  const nlohmann::json half{{"value", 0.5}, {"error", 0.01}};
  run.stages[5].results = {{"benchmarks",
                            {{{"name", "sums of <two>"},
                              {"benchmark", "sums"},
                              {"problems", 64},
                              {"samples", 2},
                              {"pass@1", half},
                              {"pass@k", {{"1", half}, {"2", half}}},
                              {"maj@k", half},
                              {"completion_length", 24.25},
                              {"truncated", 0.0},
                              {"well_formed", 0.97},
                              {"thinking", 0.5},
                              {"language_consistency", nullptr},
                              {"rewards", {{"helpful", -0.25}}}}}}};
  return run;
}

// A stage is a box and every link ends at one; a stage that evaluates is a mark on what it measures.
TEST(Road, DrawsBoxesLinesAndMarks) {
  const std::string road = road_figure(small_recipe());
  EXPECT_EQ(count(road, "class=\"box\""), 5U);
  EXPECT_EQ(count(road, "class=\"head weights\""), 4U);
  EXPECT_EQ(count(road, "class=\"head data\""), 1U);
  EXPECT_EQ(count(road, "class=\"mark waiting\""), 1U);
  EXPECT_NE(road.find("on_zero: evaluates zero"), std::string::npos);
  EXPECT_NE(road.find(">pass@1 50.0 %</text>"), std::string::npos);
  EXPECT_EQ(count(road, "class=\"stage complete\""), 1U);
  EXPECT_EQ(count(road, "class=\"stage begun\""), 1U);
  EXPECT_NE(road.find("<a href=\"#tuned\">"), std::string::npos);
  EXPECT_NE(road.find("begins from base; learns what was kept by kept"), std::string::npos);
  EXPECT_EQ(road_figure({}), "");
}

// Boxes of a column keep apart, a line that passes a column has its own lane there beside the boxes, and what begins
// from nothing stands before what needs it.
TEST(Road, KeepsLinesOffBoxes) {
  // A chain of 20, each also read by the last, and a late source.
  std::vector<RoadBox> boxes(21, {31.0, 48.0});
  std::vector<RoadLine> lines;
  for (std::size_t b = 1; b < 20; ++b) lines.push_back({b - 1, b, 0});
  for (std::size_t b = 0; b < 18; b += 3) lines.push_back({b, 19, 1});
  lines.push_back({3, 20, 0});
  const RoadPlan plan = lay_out_road(boxes, lines);
  EXPECT_EQ(plan.layers, 20U);
  EXPECT_EQ(plan.boxes[20].layer, 4U);
  std::size_t lanes = 0;
  for (const RoadPiece& piece : plan.pieces) {
    if (!piece.lane) continue;
    ++lanes;
    for (std::size_t b = 0; b < boxes.size(); ++b)
      if (plan.boxes[b].layer == piece.layer) {
        const RoadPlace& box = plan.boxes[b];
        EXPECT_TRUE(piece.from_y < box.y - boxes[b].above || piece.from_y > box.y + boxes[b].below) << b;
      }
  }
  EXPECT_EQ(lanes, 18U + 15U + 12U + 9U + 6U + 3U);
  for (std::size_t a = 0; a < boxes.size(); ++a) {
    EXPECT_GE(plan.boxes[a].y - boxes[a].above, -1e-9);
    EXPECT_LE(plan.boxes[a].y + boxes[a].below, plan.height + 1e-9);
    for (std::size_t b = a + 1; b < boxes.size(); ++b)
      if (plan.boxes[a].layer == plan.boxes[b].layer) {
        EXPECT_GE(std::abs(plan.boxes[a].y - plan.boxes[b].y), 79.0);
      }
  }
  const RoadPlan late = lay_out_road(std::vector<RoadBox>(4, {31.0, 31.0}), {{0, 1, 0}, {1, 3, 0}, {2, 3, 0}});
  EXPECT_EQ(late.boxes[2].layer, 1U);
}

// What was evaluated stands for the model it measures; an rl stage that none measures has its own numbers, in the
// column of the benchmark with the same problems.
TEST(BenchmarkTables, RowAModel) {
  const RunRecord run = small_recipe();
  const std::string table = models_table(run);
  EXPECT_EQ(count(table, "<tr><td>"), 2U);
  EXPECT_EQ(count(table, "class=\"group\""), 1U);
  EXPECT_NE(table.find("colspan=\"6\">sums of &lt;two&gt;</th>"), std::string::npos) << table;
  const std::size_t zero = table.find("<a href=\"#zero\">zero</a></td><td><a href=\"#on_zero\">");
  const std::size_t again = table.find("<a href=\"#again\">again</a></td><td>its own stage");
  ASSERT_NE(zero, std::string::npos) << table;
  ASSERT_NE(again, std::string::npos) << table;
  EXPECT_LT(zero, again);
  EXPECT_NE(table.find("50.0 <small>± 1.0</small></td><td>50.0 <small>± 1.0</small></td><td>24.2</td><td>-</td>"
                       "<td>97.0</td><td>-0.250</td>"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("62.5 <small>± 2.0</small>", again), std::string::npos) << table;
  EXPECT_NE(benchmarks_table(run.stages[5]).find(">helpful</th>"), std::string::npos);
  EXPECT_EQ(benchmarks_table(run.stages[1]), "");
  EXPECT_EQ(models_table({}), "");
}

}  // namespace
}  // namespace athanor
