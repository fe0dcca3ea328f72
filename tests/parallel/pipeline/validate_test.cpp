// What makes a schedule wrong, one mistake at a time.
#include "parallel/pipeline/validate.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/parallel/pipeline/all_schedules.hpp"

namespace athanor {
namespace {

constexpr const char* kHead = "schedule s ranks=2 chunks=2 micro_batches=2 placement=0,1\n";
constexpr const char* kRank0 = "rank 0: 0F0 0F1 0B0 0B1\n";
constexpr const char* kRank1 = "rank 1: 1F0 1B0 1F1 1B1\n";

std::string validation_error(const std::string& text) {
  try {
    validate(parse_schedule(text, "memory"));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

// A good schedule is accepted; each mistake is refused with schedule, rank, action and reason.
TEST(Validate, NamesRankActionAndReason) {
  const std::string head = kHead, rank0 = kRank0, rank1 = kRank1;
  const std::pair<std::string, std::string> cases[] = {
      {head + rank0 + rank1, "accepted"},
      {head + "rank 0: 0F0 0F1 0B0\n" + rank1,
       "schedule s: rank 0 never does I of chunk 0, micro-batch 1; wanted F, I and W (or B) of every chunk and "
       "micro-batch"},
      {head + "rank 0: 0F0 0F1 0B0 0I1\n" + rank1, "rank 0 never does W of chunk 0, micro-batch 1"},
      {head + "rank 0: 0F0 0F1 0B0 1B1\n" + rank1, "rank 0, action 3 (1B1): chunk 1 belongs to rank 1"},
      {head + "rank 0: 0F0 0F1 0B0 0B0\n" + rank1,
       "rank 0, action 3 (0B0): I of chunk 0, micro-batch 0 is done already by rank 0, action 2 (0B0)"},
      {head + "rank 0: 0F0 0F0 0B0 0B1\n" + rank1,
       "rank 0, action 1 (0F0): F of chunk 0, micro-batch 0 is done already"},
      {head + "rank 0: 0F0 0B1 0F1 0B0\n" + rank1,
       "rank 0, action 1 (0B1): wanted F of chunk 0, micro-batch 1 before it"},
      {head + "rank 0: 0F0 0W0 0I0 0F1 0B1\n" + rank1,
       "rank 0, action 1 (0W0): wanted I of chunk 0, micro-batch 0 before it"},
      {head + "rank 0: 0F0 0F1 0B0 0B2\n" + rank1, "rank 0, action 3 (0B2): there is no micro-batch 2; wanted 0 to 1"},
      {head + "rank 0: 0F0 0F1 0B0 5B1\n" + rank1, "rank 0, action 3 (5B1): there is no chunk 5; wanted 0 to 1"},
      {"schedule s ranks=2 chunks=2 micro_batches=2 placement=0,2\n" + rank0 + rank1, "chunk 1 is placed on rank 2"},
      {"schedule s ranks=1 chunks=1 micro_batches=1000000 placement=0\nrank 0: 0F0 0B0\n",
       "1 chunks and 1000000 micro-batches want 1000000 forwards, and there are but 2 actions"},
      {"schedule s ranks=2 chunks=1 micro_batches=2 placement=0\n" + rank0 + "rank 1:\n", "rank 1 owns no chunk"},
      {"schedule s ranks=1 chunks=1 micro_batches=1 placement=0\nrank 0: 0F0&0B0\n",
       "rank 0, action 0 (0F0&0B0): an overlapped pair wants F and B of different chunks or micro-batches"},
  };
  for (const auto& [text, wanted] : cases)
    EXPECT_NE(validation_error(text).find(wanted), std::string::npos) << text << "gave: " << validation_error(text);
}

// Ranks that wait for each other are found, with the actions that wait in a cycle.
TEST(Validate, DeadlockShowsTheCycle) {
  const std::string error = validation_error(std::string(kHead) + "rank 0: 0F0 0B0 0F1 0B1\nrank 1: 1F0 1F1 1B0 1B1\n");
  EXPECT_EQ(error,
            "schedule s: deadlock:\n"
            "  rank 0, action 1 (0B0) waits for I of chunk 1, micro-batch 0: rank 1, action 2 (1B0)\n"
            "  rank 1, action 1 (1F1) waits for F of chunk 0, micro-batch 1: rank 0, action 2 (0F1)");
}

// A pair runs as one: its backward cannot use what its forward makes on the way to it.
TEST(Validate, PairThatWaitsForItselfIsADeadlock) {
  const std::string error =
      validation_error("schedule s ranks=1 chunks=2 micro_batches=1 placement=0,0\nrank 0: 0F0 1F0&0B0 1B0\n");
  EXPECT_EQ(error,
            "schedule s: deadlock:\n"
            "  rank 0, action 1 (1F0&0B0) waits for I of chunk 1, micro-batch 0: rank 0, action 2 (1B0)");
}

// Activations in flight are as the papers say: all for GPipe, p - r for 1F1B, p for ZB-H1, 2R + 1 for DualPipeV.
TEST(Validate, PeakActivations) {
  EXPECT_EQ(peak_activations(make_gpipe(3, 7)), (std::vector<int>{7, 7, 7}));
  EXPECT_EQ(peak_activations(make_1f1b(4, 9)), (std::vector<int>{4, 3, 2, 1}));
  EXPECT_EQ(peak_activations(make_zb1(4, 9)), (std::vector<int>{4, 4, 4, 4}));
  EXPECT_EQ(peak_activations(make_dualpipev(4, 20)), (std::vector<int>{9, 9, 9, 9}));
  // Interleaved: warm-up 2(p-r-1) + (v-1)p, and one more in the steady state.
  EXPECT_EQ(peak_activations(make_interleaved(4, 8, 2)), (std::vector<int>{11, 9, 7, 5}));
}

}  // namespace
}  // namespace athanor
