// Faults made up among healthy ranks: each is found, on the right rank, and a healthy job has none.
#include "jobs/doctor/rank_health.hpp"

#include <gtest/gtest.h>

namespace athanor {
namespace {

std::vector<RankHealth> healthy() {
  RankHealth rank;
  rank.cores = 8;
  rank.threads = 4;
  rank.memory = 64e9;
  rank.memory_free = 60e9;
  rank.shared_memory_free = 1e9;
  rank.folder_free = 1e12;
  rank.sees_folder = true;
  rank.clock_seconds = 1e9;
  rank.program = "abc";
  rank.open_files = 65536;
  rank.f32_flops = 1e11;
  rank.bf16_flops = 2e11;
  rank.copy_bytes_per_second = 2e10;
  std::vector<RankHealth> ranks(6, rank);
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    ranks[r].host = "node" + std::to_string(r / 2);
    ranks[r].slowest_peer = {static_cast<int>((r + 2) % ranks.size()), 1e10};
  }
  return ranks;
}

/// That one thing bad is found, and its text has these words.
void expect_found(const std::vector<RankHealth>& ranks, const std::vector<std::string>& words) {
  const auto findings = judge(ranks, {.folder = "/runs"});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_TRUE(findings[0].bad);
  for (const std::string& word : words) EXPECT_NE(findings[0].text.find(word), std::string::npos) << findings[0].text;
}

TEST(RankHealth, FindsNothingAmongTheHealthy) { EXPECT_TRUE(judge(healthy(), {}).empty()); }

TEST(RankHealth, NamesTheRankThatIsUnlikeTheOthers) {
  auto ranks = healthy();
  ranks[3].program = "other";
  expect_found(ranks, {"rank 3 on node1", "another binary"});
  ranks = healthy();
  ranks[4].sees_folder = false;
  expect_found(ranks, {"rank 4 on node2", "/runs"});
  ranks = healthy();
  ranks[5].clock_seconds -= 7.0;
  expect_found(ranks, {"rank 5 on node2", "7.0 s behind"});
  ranks = healthy();
  ranks[0].devices = {"cuda:0"};
  EXPECT_EQ(judge(ranks, {}).size(), 5U);
  ranks = healthy();
  ranks[2].open_files = 256;
  expect_found(ranks, {"rank 2", "256 files"});
}

TEST(RankHealth, NamesSlowRanksAndLinks) {
  auto ranks = healthy();
  ranks[1].f32_flops = 0.7e11;
  expect_found(ranks, {"rank 1 on node0", "70 %", "matrix product"});
  ranks = healthy();
  ranks[2].copy_bytes_per_second = 1e10;
  expect_found(ranks, {"rank 2 on node1", "memory bandwidth"});
  ranks = healthy();
  ranks[3].slowest_peer.bytes_per_second = 1e9;
  expect_found(ranks, {"rank 3 on node1", "to rank 5 on node2", "1.00 GB/s"});
}

// What concerns a machine is told once a machine, and is no reason to refuse it.
TEST(RankHealth, NotesWhatAMachineLacks) {
  auto ranks = healthy();
  for (RankHealth& rank : ranks) rank.threads = 8;
  auto findings = judge(ranks, {});
  ASSERT_EQ(findings.size(), 3U);
  for (const Finding& finding : findings) EXPECT_FALSE(finding.bad);
  ranks = healthy();
  ranks[2].sandbox = ranks[3].sandbox = "no bubblewrap";
  findings = judge(ranks, {});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_NE(findings[0].text.find("node1"), std::string::npos);
}

TEST(RankHealth, IsItsText) {
  const RankHealth rank = healthy()[3];
  EXPECT_EQ(to_text(health_from_text(to_text(rank))), to_text(rank));
  EXPECT_EQ(health_from_text(to_text(rank)).slowest_peer.rank, 5);
}

}  // namespace
}  // namespace athanor
