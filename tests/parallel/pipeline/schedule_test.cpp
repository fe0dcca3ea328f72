// The text form of schedules.
#include "parallel/pipeline/schedule.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/parallel/pipeline/all_schedules.hpp"

namespace athanor {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_schedule(text, "mine.txt");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

// What is written reads back as the same schedule, for every generator, and is written the same way again.
TEST(ScheduleText, RoundTripIsExact) {
  for (const PipelineSchedule& schedule : testing::all_schedules({1, 2, 3, 4}, {1, 5, 8})) {
    const std::string text = to_text(schedule);
    const PipelineSchedule read = parse_schedule(text, "memory");
    EXPECT_EQ(read, schedule) << text;
    EXPECT_EQ(to_text(read), text);
  }
}

// The form is the one in the head of schedule.hpp; comments, empty lines and the order of the ranks do not matter.
TEST(ScheduleText, ReadsWhatAPersonWrites) {
  const PipelineSchedule schedule = parse_schedule(
      "# two ranks\n\nschedule mine ranks=2 chunks=4 micro_batches=1 placement=0,1,1,0\r\n"
      "rank 1: 1F0 2F0   2B0 1I0 1W0  # turn\nrank 0: 0F0 3F0&0B0",
      "memory");
  EXPECT_EQ(schedule.name, "mine");
  EXPECT_EQ(schedule.chunk_rank, (std::vector<int>{0, 1, 1, 0}));
  ASSERT_EQ(schedule.rank_programs.size(), 2U);
  EXPECT_EQ(schedule.rank_programs[0], (std::vector<Action>{{Phase::F, 0, 0}, {Phase::FB, 3, 0, 0, 0}}));
  EXPECT_EQ(
      schedule.rank_programs[1],
      (std::vector<Action>{{Phase::F, 1, 0}, {Phase::F, 2, 0}, {Phase::B, 2, 0}, {Phase::I, 1, 0}, {Phase::W, 1, 0}}));
}

// A malformed file is refused with file, line, what was wanted and what stands there.
TEST(ScheduleText, ErrorsNameFileAndLine) {
  const std::string head = "schedule s ranks=2 chunks=2 micro_batches=1 placement=0,1\n";
  const std::pair<std::string, std::string> cases[] = {
      {"", "mine.txt: wanted the header"},
      {"ranks=2\n", "mine.txt:1: wanted the header \"schedule NAME ranks=...\", found 'ranks=2'"},
      {"\n\nschedule s ranks=0 chunks=1 micro_batches=1 placement=0\n",
       "mine.txt:3: wanted ranks= and a number from 1"},
      {"schedule s ranks=2 chunks=2 micro_batches=99999999999 placement=0,1\n", "wanted micro_batches= and a number"},
      {"schedule s ranks=2 chunks=2 placement=0,1\n", "wanted micro_batches=..."},
      {"schedule s ranks=2 chunks=2 micro_batches=1 placement=0,x\n", "found '0,x'"},
      {"schedule s ranks=2 chunks=2 micro_batches=1 placement=0,\n", "found '0,'"},
      {"schedule s ranks=2 chunks=3 micro_batches=1 placement=0,1\n", "a rank for each of 3 chunks"},
      {"schedule s ranks=2 chunks=2 micro_batches=1 placement=0,1 more\n",
       "wanted the end of the header, found 'more'"},
      {head + "rank 2: 0F0\n", "mine.txt:2: wanted \"rank N:\" with N from 0 to 1, found '2:'"},
      {head + "rank 0: 0F0\nrank 0: 0B0\n", "mine.txt:3: wanted one line for each rank, found 'rank 0 again'"},
      {head + "rank 0: 0F0 0X0\n", "mine.txt:2: wanted an action"},
      {head + "rank 0: 0F\n", "found '0F'"},
      {head + "rank 0: -1F0\n", "found '-1F0'"},
      {head + "rank 0: 0F99999999999\n", "found '0F99999999999'"},
      {head + "rank 0: 0B0&0F0\n", "found '0B0&0F0'"},
      {head + "rank 0: 0F0&0B0&0B1\n", "found '0F0&0B0&0B1'"},
      {head + "rank 0: 0F0 0B0\n", "found none for rank 1"},
  };
  for (const auto& [text, wanted] : cases)
    EXPECT_NE(error_of(text).find(wanted), std::string::npos) << text << "\ngave: " << error_of(text);
}

}  // namespace
}  // namespace athanor
