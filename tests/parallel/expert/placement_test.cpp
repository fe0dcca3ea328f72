// Placement and nodes: arithmetic, without ranks.
#include "parallel/expert/placement.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "parallel/expert/node_map.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

using Ids = std::vector<std::int64_t>;

// Promises: the heaviest item first, to the lightest pack with room; 9|7|5|1 onto 2 packs: {9,1}, {7,5}.
TEST(Packing, PutsTheHeaviestFirst) {
  const std::vector<double> loads{1, 9, 5, 7};
  const Packing packing = balanced_packing(loads, 2);
  EXPECT_EQ(packing.pack_of, (Ids{0, 0, 1, 1}));
  EXPECT_EQ(packing.place_in_pack, (Ids{1, 0, 1, 0}));
  EXPECT_THROW(balanced_packing(loads, 3), ConfigError);
}

// Promises: every further slot goes to the largest load a copy: 12|6|3 with 3 more slots: 12 -> 6 each (tie with 6: the
// lower id), 12 -> 4 each, then 6.
TEST(Replication, CopiesTheHottest) {
  EXPECT_EQ(replicate(std::vector<double>{12, 6, 3}, 6), (Ids{0, 1, 2, 0, 0, 1}));
  EXPECT_EQ(replicate(std::vector<double>{1, 2}, 2), (Ids{0, 1}));
}

// Promises: the example that EPLB's description prints: 12 experts in 4 groups onto 16 slots of 8 ranks on 2 nodes.
TEST(Placement, GivesThePublishedExample) {
  const PlacementShape shape{.num_slots = 16, .num_groups = 4, .num_nodes = 2, .num_ranks = 8};
  const std::vector<double> first{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86};
  const std::vector<double> second{20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27};
  EXPECT_EQ(plan_placement(first, shape).physical_to_logical, (Ids{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1}));
  EXPECT_EQ(plan_placement(second, shape).physical_to_logical, (Ids{7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}));
}

// Promises: where nodes do not divide groups the whole is one node: 2 experts of loads 6 and 2 on 4 slots of 2 ranks:
// copies 6 -> 3, 3 -> 2, 2, 2 and 2 once: each rank one of... 2+2 | 2+2.
TEST(Placement, FallsBackToOneNode) {
  const std::vector<double> loads{6, 2};
  const ExpertPlacement plan = plan_placement(loads, {.num_slots = 4, .num_groups = 1, .num_nodes = 2, .num_ranks = 2});
  EXPECT_EQ(plan.physical_to_logical, (Ids{0, 0, 1, 0}));
  EXPECT_EQ(plan.rank_loads(loads), (std::vector<double>{4, 4}));
  EXPECT_EQ(plan.logical_to_physical(), (std::vector<Ids>{{0, 1, 3}, {2}}));
  EXPECT_EQ(plan.held_by(1), (Ids{1, 0}));
}

// Promises: on random skewed loads every expert is placed, groups stay on one node where nodes divide them, and no rank
// carries more than the busiest rank without planning.
TEST(Placement, NeverWorseThanLeavingThingsAlone) {
  const std::int64_t experts = 32, ranks = 8;
  for (std::uint64_t trial = 0; trial < 40; ++trial) {
    const Philox random(11, RandomPurpose::test, trial);
    std::vector<double> loads;
    for (std::uint64_t e = 0; e < 32; ++e) loads.push_back(std::pow(random.uniform(e), 4.0) * 1000.0);
    const auto unmoved = ExpertPlacement::contiguous(experts, ranks).rank_loads(loads);
    for (const std::int64_t slots : {32, 40, 64})
      for (const std::int64_t nodes : {1, 2, 4}) {
        const ExpertPlacement plan =
            plan_placement(loads, {.num_slots = slots, .num_groups = 8, .num_nodes = nodes, .num_ranks = ranks});
        EXPECT_NO_THROW(plan.validate());
        EXPECT_EQ(plan.slots_per_rank(), slots / ranks);
        const auto planned = plan.rank_loads(loads);
        EXPECT_LE(*std::max_element(planned.begin(), planned.end()),
                  *std::max_element(unmoved.begin(), unmoved.end()) * (1 + 1e-12))
            << slots << " slots, " << nodes << " nodes, trial " << trial;
        std::vector<std::string> names;
        for (std::int64_t rank = 0; rank < ranks; ++rank) names.push_back(std::to_string(rank / (ranks / nodes)));
        EXPECT_NO_THROW(check_groups_fit_nodes({.num_experts = experts, .num_groups = 8, .num_limited_groups = 2}, plan,
                                               NodeMap(names)));
      }
  }
}

// Promises: where the greedy packing (3+2+2 | 3+2+0) would be worse than the order there is (3+3+0 | 2+2+2), nothing
// moves.
TEST(Placement, KeepsABetterOrder) {
  EXPECT_EQ(plan_placement(std::vector<double>{3, 3, 0, 2, 2, 2}, {.num_slots = 6, .num_ranks = 2}).physical_to_logical,
            (Ids{0, 1, 2, 3, 4, 5}));
}

// Promises: shapes that cannot be are refused, and so are placements that forget an expert.
TEST(Placement, RefusesWhatCannotBe) {
  const std::vector<double> loads(6, 1.0);
  EXPECT_THROW(plan_placement(loads, {.num_slots = 7, .num_ranks = 2}), ConfigError);
  EXPECT_THROW(plan_placement(loads, {.num_slots = 4, .num_ranks = 2}), ConfigError);
  EXPECT_THROW(plan_placement(loads, {.num_slots = 6, .num_groups = 4, .num_ranks = 2}), ConfigError);
  EXPECT_THROW(ExpertPlacement::contiguous(6, 4), ConfigError);
  EXPECT_THROW((ExpertPlacement{3, 1, {0, 2, 2}}.validate()), ConfigError);
  EXPECT_THROW((ExpertPlacement{3, 1, {0, 1, 2, 3}}.validate()), ConfigError);
  EXPECT_THROW((ExpertPlacement{3, 2, {0, 1, 2}}.validate()), ConfigError);
}

// Promises: nodes are numbered by their lowest rank; a rank's relay on a node has its number there, or what is left of
// it where that node is smaller.
TEST(Nodes, NumberRanksAndRelays) {
  const NodeMap nodes({"b", "a", "b", "a", "b"});
  EXPECT_EQ(nodes.nodes(), 2);
  EXPECT_EQ(nodes.node_of(1), 1);
  EXPECT_EQ(nodes.ranks_of(0), (std::vector<int>{0, 2, 4}));
  EXPECT_EQ(nodes.relay(0, 1), 1);
  EXPECT_EQ(nodes.relay(2, 1), 3);
  EXPECT_EQ(nodes.relay(4, 1), 1);
  EXPECT_EQ(nodes.relay(4, 0), 4);
  EXPECT_TRUE(nodes.has_two_levels());
  EXPECT_FALSE(NodeMap({"a", "a"}).has_two_levels());
  EXPECT_FALSE(NodeMap({"a", "b"}).has_two_levels());
}

// Promises: three nodes cannot hold four groups of two experts whole; a router that does not limit groups does not
// care.
TEST(Nodes, GroupsMustFit) {
  const auto placement = ExpertPlacement::contiguous(12, 3);
  const NodeMap nodes({"a", "b", "c"});
  EXPECT_THROW(check_groups_fit_nodes({.num_experts = 12, .num_groups = 4, .num_limited_groups = 2}, placement, nodes),
               ConfigError);
  EXPECT_NO_THROW(
      check_groups_fit_nodes({.num_experts = 12, .num_groups = 4, .num_limited_groups = 4}, placement, nodes));
  EXPECT_NO_THROW(
      check_groups_fit_nodes({.num_experts = 12, .num_groups = 6, .num_limited_groups = 2}, placement, nodes));
}

}  // namespace
}  // namespace athanor
