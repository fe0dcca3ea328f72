// Mesh arithmetic; needs no MPI.
#include "parallel/process_mesh.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "src/base/error.hpp"

namespace athanor {
namespace {

std::string config_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

// The documented order, worked by hand: pp=2, dp=3, cp=1, tp=2, ep=3 on 12 ranks; rank 7 = ((1*3+0)*1+0)*2+1.
TEST(MeshShape, PlacesRanksInTheDocumentedOrder) {
  const MeshShape shape = MeshShape{.pp = 2, .dp = 3, .cp = 1, .tp = 2, .ep = 3}.resolved(12);
  const MeshPlace place(shape, 7);
  EXPECT_EQ(place.coord(Axis::pp), 1);
  EXPECT_EQ(place.coord(Axis::dp), 0);
  EXPECT_EQ(place.coord(Axis::tp), 1);
  EXPECT_EQ(place.coord(Axis::edp), 0);  // rank 1 of 6 in its pipeline rank = 0*3 + 1
  EXPECT_EQ(place.coord(Axis::ep), 1);
  EXPECT_EQ(ranks_along(shape, Axis::tp, 7), (std::vector<std::int64_t>{6, 7}));
  EXPECT_EQ(ranks_along(shape, Axis::dp, 7), (std::vector<std::int64_t>{7, 9, 11}));
  EXPECT_EQ(ranks_along(shape, Axis::pp, 7), (std::vector<std::int64_t>{1, 7}));
  EXPECT_EQ(ranks_along(shape, Axis::ep, 7), (std::vector<std::int64_t>{6, 7, 8}));
  EXPECT_EQ(ranks_along(shape, Axis::edp, 7), (std::vector<std::int64_t>{7, 10}));
}

// For every axis the groups cut the world into parts of the axis's size, members agree on their group, and a rank
// stands in it where its coordinate says.
TEST(MeshShape, GroupsPartitionTheWorld) {
  for (const MeshShape& wanted : {MeshShape{.pp = 2, .dp = 2, .cp = 2, .tp = 2, .ep = 4}, MeshShape{.dp = 6, .ep = 3},
                                  MeshShape{.pp = 3, .tp = 4, .ep = 2}, MeshShape{}}) {
    const std::int64_t world = wanted.pp * std::max<std::int64_t>(wanted.dp, 1) * wanted.cp * wanted.tp;
    const MeshShape shape = wanted.resolved(world);
    EXPECT_EQ(shape.edp() * shape.ep, shape.dp * shape.cp * shape.tp);
    for (const Axis axis : kAxes) {
      std::set<std::vector<std::int64_t>> groups;
      for (std::int64_t rank = 0; rank < world; ++rank) {
        const auto members = ranks_along(shape, axis, rank);
        EXPECT_EQ(static_cast<std::int64_t>(members.size()), shape.size(axis));
        EXPECT_EQ(members[static_cast<std::size_t>(MeshPlace(shape, rank).coord(axis))], rank);
        for (const auto member : members) EXPECT_EQ(ranks_along(shape, axis, member), members);
        groups.insert(members);
      }
      EXPECT_EQ(static_cast<std::int64_t>(groups.size()) * shape.size(axis), world) << to_string(axis);
    }
  }
}

// dp = 0 takes the ranks that the other axes leave.
TEST(MeshShape, FillsDataParallelism) {
  EXPECT_EQ((MeshShape{.pp = 2, .tp = 2}.resolved(12).dp), 3);
  EXPECT_EQ(MeshShape{}.resolved(5).dp, 5);
}

// What does not divide is refused with the axis, the numbers and what would do.
TEST(MeshShape, RefusesWhatDoesNotDivide) {
  const auto ep = config_error([] { MeshShape{.dp = 6, .ep = 4}.resolved(6); });
  EXPECT_NE(ep.find("parallel.ep = 4 does not divide dp*cp*tp = 6*1*1 = 6; choose one of 1, 2, 3, 6"),
            std::string::npos)
      << ep;
  const auto dp = config_error([] { MeshShape{.dp = 3}.resolved(4); });
  EXPECT_NE(dp.find("set parallel.dp = 4"), std::string::npos) << dp;
  const auto tp = config_error([] { MeshShape{.tp = 3}.resolved(4); });
  EXPECT_NE(tp.find("one of 1, 2, 4"), std::string::npos) << tp;
  const auto zero = config_error([] { MeshShape{.cp = 0}.resolved(4); });
  EXPECT_NE(zero.find("parallel.cp = 0"), std::string::npos) << zero;
}

}  // namespace
}  // namespace athanor
