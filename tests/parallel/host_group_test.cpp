#include "parallel/host_group.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "parallel/mpi/mpi_session.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

// Decisions are the same on every rank, whoever is for or against.
TEST(HostGroup, AgreesOnDecisions) {
  HostGroup world = HostGroup::world();
  EXPECT_TRUE(world.all_agree(true));
  EXPECT_FALSE(world.all_agree(world.rank() != world.size() - 1));
  EXPECT_FALSE(world.any(false));
  EXPECT_TRUE(world.any(world.rank() == world.size() - 1));
}

// Texts of different lengths, empty ones and ones with zero bytes arrive whole and in rank order.
TEST(HostGroup, CarriesText) {
  HostGroup world = HostGroup::world();
  const auto text_of = [](int rank) { return rank == 1 ? std::string() : std::string(3 * rank + 1, '\0') + "x"; };

  const auto all = world.all_gather(text_of(world.rank()));
  const auto at_root = world.gather(text_of(world.rank()), world.size() - 1);
  const std::string from_root = world.broadcast("from " + std::to_string(world.rank()), world.size() - 1);

  ASSERT_EQ(static_cast<int>(all.size()), world.size());
  for (int rank = 0; rank < world.size(); ++rank) EXPECT_EQ(all[static_cast<std::size_t>(rank)], text_of(rank));
  if (world.rank() == world.size() - 1)
    EXPECT_EQ(at_root, all);
  else
    EXPECT_TRUE(at_root.empty());
  EXPECT_EQ(from_root, "from " + std::to_string(world.size() - 1));
}

// Sums are taken in rank order, so that they equal a plain loop bit for bit.
TEST(HostGroup, SumsInRankOrder) {
  HostGroup world = HostGroup::world();
  const auto value_of = [](int rank) { return rank == 0 ? 1e16 : 1.0 / (rank + 2); };
  double expected = value_of(0);
  for (int rank = 1; rank < world.size(); ++rank) expected += value_of(rank);

  EXPECT_EQ(world.sum(value_of(world.rank())), expected);
  EXPECT_EQ(world.sum(std::int64_t{world.rank()}), world.size() * (world.size() - 1) / 2);
  EXPECT_EQ(world.max(value_of(world.rank())), 1e16);
  EXPECT_EQ(world.max(std::int64_t{-world.rank()}), 0);
}

// A rank that differs is named with its value, on every rank.
TEST(HostGroup, NamesTheOddRank) {
  HostGroup world = HostGroup::world();
  EXPECT_NO_THROW(world.check_same("the configuration", 7));
  if (world.size() < 2) return;
  const int odd = world.size() - 1;
  std::string message;
  try {
    world.check_same("the configuration", world.rank() == odd ? 0xbad : 7);
  } catch (const CollectiveMismatch& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("the configuration"), std::string::npos) << message;
  EXPECT_NE(message.find("rank " + std::to_string(odd)), std::string::npos) << message;
  EXPECT_NE(message.find("0bad"), std::string::npos) << message;
  EXPECT_EQ(message.find("rank 0 ("), std::string::npos) << message;
}

// A split group holds the ranks of one color in the order of their keys.
TEST(HostGroup, Splits) {
  HostGroup world = HostGroup::world();
  HostGroup part = world.split(world.rank() % 2, -world.rank());
  const int members = (world.size() + 1 - world.rank() % 2) / 2;
  EXPECT_EQ(part.size(), members);
  EXPECT_EQ(part.rank(), members - 1 - world.rank() / 2);
  HostGroup moved = std::move(part);
  EXPECT_EQ(moved.sum(std::int64_t{1}), members);
}

// All ranks of one machine share its index.
TEST(HostGroup, NumbersTheMachines) {
  HostGroup world = HostGroup::world();
  EXPECT_FALSE(world.host_name().empty());
  EXPECT_GE(world.node_index(), 0);
  EXPECT_LE(world.node_index(), world.rank());
}

// MPI's own words reach the user.
TEST(MpiCheck, ThrowsWithTheText) {
  int value = 0;
  HostGroup world = HostGroup::world();
  const int code = MPI_Bcast(&value, 1, MPI_INT, world.size() + 5, world.comm());
  try {
    mpi::check(code, "a broadcast from nowhere");
    ADD_FAILURE() << "no error";
  } catch (const CommError& error) {
    EXPECT_NE(std::string(error.what()).find("a broadcast from nowhere failed: MPI_ERR_ROOT"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace athanor
