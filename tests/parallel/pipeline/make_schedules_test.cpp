// Generators against golden files, which golden/make_goldens.py makes and proves on its own.
#include "parallel/pipeline/make_schedules.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "parallel/pipeline/validate.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/pipeline/all_schedules.hpp"

namespace athanor {
namespace {

// The schedules of 2, 4 and 8 ranks are, action by action, those of the golden files.
TEST(MakeSchedules, GoldenText) {
  for (const std::string& name : schedule_names())
    for (const auto& [pp, micro_batches] : {std::pair{2, name == "interleaved" ? 4 : 5}, {4, 8}, {8, 16}}) {
      const std::string path = std::string(ATHANOR_GOLDEN_FOLDER) + "/" + name + "_p" + std::to_string(pp) + ".txt";
      std::ifstream file(path);
      std::ostringstream wanted;
      wanted << file.rdbuf();
      ASSERT_FALSE(wanted.str().empty()) << path;
      EXPECT_EQ(to_text(make_schedule(name, pp, micro_batches)), wanted.str()) << path;
    }
}

// Every generator gives a schedule that can run, for any number of ranks and micro-batches, short last groups included.
TEST(MakeSchedules, AreValidForAllShapes) {
  for (const PipelineSchedule& schedule :
       testing::all_schedules({1, 2, 3, 4, 5, 7, 8}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 23}))
    EXPECT_NO_THROW(validate(schedule)) << testing::shape_of(schedule) << "\n" << to_text(schedule);
}

// In a V the first and the last chunk are on rank 0; interleaved chunks go round.
TEST(MakeSchedules, Placement) {
  EXPECT_EQ(make_dualpipev(3, 6).chunk_rank, (std::vector<int>{0, 1, 2, 2, 1, 0}));
  EXPECT_EQ(make_interleaved(2, 2, 3).chunk_rank, (std::vector<int>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(make_zb1(3, 1).chunk_rank, (std::vector<int>{0, 1, 2}));
}

// What cannot be made is refused with the names or values that would do.
TEST(MakeSchedules, RefusalsSayWhatWouldDo) {
  const auto error_of = [](std::string_view name, int pp, int m, int v) -> std::string {
    try {
      make_schedule(name, pp, m, v);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(error_of("zb2", 2, 4, 0), "there is no schedule 'zb2'; known are gpipe, 1f1b, interleaved, zb1, dualpipev");
  EXPECT_EQ(error_of("dualpipev", 4, 7, 0), "schedule dualpipev: micro_batches = 7; wanted at least 8");
  EXPECT_EQ(error_of("1f1b", 0, 7, 0), "schedule 1f1b: ranks = 0; wanted at least 1");
  EXPECT_EQ(error_of("gpipe", 2, 0, 0), "schedule gpipe: micro_batches = 0; wanted at least 1");
  EXPECT_EQ(error_of("1f1b", 2, 4, 2),
            "schedule 1f1b: virtual_chunks = 2; it has 1 chunk a rank (any number: interleaved)");
  EXPECT_EQ(error_of("dualpipev", 2, 4, 2), "accepted");
  EXPECT_EQ(error_of("interleaved", 2, 4, -1), "schedule interleaved: virtual_chunks = -1; wanted at least 1");
  EXPECT_THROW(make_interleaved(4, 8, 2, 3), ConfigError);
}

}  // namespace
}  // namespace athanor
