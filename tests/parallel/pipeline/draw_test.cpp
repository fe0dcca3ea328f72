// Pictures of small schedules.
#include "parallel/pipeline/draw.hpp"

#include <gtest/gtest.h>

#include "tests/parallel/pipeline/all_schedules.hpp"

namespace athanor {
namespace {

// The drawing of a schedule by hand: labels, idle time, and phases alone where labels do not fit.
TEST(Draw, TextByHand) {
  const PipelineSchedule schedule = make_1f1b(2, 2);
  const ScheduleTimes times = simulate(schedule, {});
  EXPECT_EQ(draw_text(schedule, times, 100),
            "   0 |F0 F1 ......B0    ...B1    |\n"
            "   1 |...F0 B0    F1 B1    ......|\n");
  EXPECT_EQ(draw_text(schedule, times, 9),
            "   0 |FF..B0.B1|\n"
            "   1 |.FB0FB1..|\n");
  EXPECT_EQ(idle_words(times), "3 units (33.3 %)");
}

// A rank's second chunk is marked, and a pair shows both of its halves.
TEST(Draw, ChunksAndPairs) {
  const PipelineSchedule schedule = make_dualpipev(1, 2);
  EXPECT_EQ(draw_text(schedule, simulate(schedule, {}), 200),
            "   0 |F0  F0' F1  B0'     F1'/B0      B1'     I1  W1  |\n");
}

// Rows are as long as time for every schedule, and nothing is drawn over something else.
TEST(Draw, RowsAreWhole) {
  for (const PipelineSchedule& schedule : testing::all_schedules({1, 3, 4}, {1, 8})) {
    const ScheduleTimes times = simulate(schedule, {1, 1.5, 0.5, 2.5, 0.25});
    const std::string text = draw_text(schedule, times, 2000);
    std::size_t letters = 0, wanted = 0;
    for (const char c : text) letters += std::string_view("FIWB").find(c) != std::string_view::npos ? 1 : 0;
    for (const auto& program : schedule.rank_programs)
      for (const Action& action : program) wanted += action.phase == Phase::FB ? 2 : 1;
    EXPECT_EQ(letters, wanted) << testing::shape_of(schedule) << "\n" << text;
    const std::size_t row = text.find('\n') + 1;
    EXPECT_EQ(text.size(), row * static_cast<std::size_t>(schedule.num_ranks)) << text;
  }
}

// The SVG has a box for each action (two for a pair) and stays well formed whatever the schedule is called.
TEST(Draw, SvgHasABoxForEachAction) {
  PipelineSchedule schedule = make_dualpipev(2, 4);
  schedule.name = "a<b>&c";
  const std::string svg = draw_svg(schedule, simulate(schedule, {}));
  std::size_t boxes = 0;
  for (std::size_t at = svg.find("<rect x="); at != std::string::npos; at = svg.find("<rect x=", at + 1)) ++boxes;
  std::size_t wanted = 4;  // the legend: F, I, W and B
  for (const auto& program : schedule.rank_programs)
    for (const Action& action : program) wanted += action.phase == Phase::FB ? 2 : 1;
  EXPECT_EQ(boxes, wanted);
  EXPECT_NE(svg.find("a&lt;b>&amp;c: 2 ranks, 4 chunks, 4 micro-batches"), std::string::npos);
  EXPECT_NE(svg.find("peak activations by rank: "), std::string::npos);
  EXPECT_EQ(svg.find("<svg"), 0U);
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
}

}  // namespace
}  // namespace athanor
