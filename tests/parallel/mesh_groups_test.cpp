// The groups that a mesh builds are those of its arithmetic.
#include <gtest/gtest.h>

#include "parallel/process_mesh.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/tensor_values.hpp"

namespace athanor {
namespace {

// Every axis has a control plane and a data plane among the right ranks in the right order.
TEST(ProcessMesh, BuildsTheGroupsOfItsShape) {
  HostGroup world = HostGroup::world();
  auto ops = make_backend("cpu");
  auto stream = ops->make_stream();
  std::vector<MeshShape> shapes = {MeshShape{}, MeshShape{.ep = world.size()}};
  if (world.size() % 2 == 0) shapes.push_back({.pp = 2, .ep = world.size() / 2});
  if (world.size() % 2 == 0) shapes.push_back({.tp = 2, .ep = 2});
  for (const MeshShape& shape : shapes) {
    ProcessMesh mesh(world, shape, *ops, true);
    for (const Axis axis : kAxes) {
      const auto members = ranks_along(mesh.shape(), axis, world.rank());
      EXPECT_EQ(mesh.along(axis).rank(), mesh.coord(axis));
      EXPECT_EQ(mesh.along(axis).size(), mesh.size(axis));
      EXPECT_EQ(mesh.host(axis).rank(), mesh.coord(axis));
      const Tensor mine = testing::tensor_of(*ops, {static_cast<double>(world.rank())}, {1}, DType::i64, *stream);
      Tensor all = ops->empty({mesh.size(axis)}, DType::i64);
      mesh.along(axis).all_gather(all, mine, *stream);
      const std::vector<double> wanted(members.begin(), members.end());
      EXPECT_EQ(testing::values_of(*ops, all, *stream), wanted) << to_string(axis);
    }
  }
}

// Ranks told different shapes say so instead of hanging.
TEST(ProcessMesh, NoticesDifferentShapes) {
  HostGroup world = HostGroup::world();
  auto ops = make_backend("cpu");
  if (world.size() == 1) return;
  const MeshShape shape{.ep = world.rank() == 1 ? 2 : 1};
  EXPECT_THROW(ProcessMesh(world, shape, *ops), CollectiveMismatch);
}

}  // namespace
}  // namespace athanor
