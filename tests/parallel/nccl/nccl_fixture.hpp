// A session of the fake NCCL over the ranks of the test, tensors of the CPU on a device whose streams run beside each
// other, and what every rank must get.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "parallel/mpi/rank_order_reduce.hpp"
#include "parallel/nccl/nccl_communicator.hpp"
#include "src/base/rng.hpp"
#include "tests/parallel/nccl/fake_nccl.hpp"
#include "tests/parallel/tensor_values.hpp"

namespace athanor::testing {

class NcclTest : public ::testing::Test {
 protected:
  /// Collective. A communicator of all ranks; its workspace is small, so that small tensors travel in pieces.
  NcclCommunicator& connect(const NcclSettings& settings = {}, double grace_seconds = 10.0) {
    session = std::make_unique<NcclSession>(
        nccl, world, settings, [this](const std::string& why) { given_up = why; }, grace_seconds);
    comm = std::make_unique<NcclCommunicator>(*session, session->split(world, "dp"), world, *ops,
                                              std::size_t{4096} * static_cast<std::size_t>(world.size()), 2048);
    return *comm;
  }
  void TearDown() override {
    if (session && given_up.empty()) device.drain();
    comm.reset();
    session.reset();
    EXPECT_EQ(nccl.open(), 0) << "communicators were left open";
  }

  static double value(int rank, std::int64_t index, DType dtype) {
    const Philox random(7, RandomPurpose::test, static_cast<std::uint64_t>(rank));
    const double uniform = random.uniform(static_cast<std::uint64_t>(index));
    if (!is_floating(dtype)) return std::floor(uniform * 20.0);
    // Magnitudes far apart, so that another order of additions gives other bits.
    return std::ldexp(uniform - 0.5, static_cast<int>(index % 7) * 6 * (rank % 2));
  }
  std::vector<double> values(int rank, std::int64_t count, DType dtype) const {
    std::vector<double> list;
    for (std::int64_t i = 0; i < count; ++i) list.push_back(value(rank, i, dtype));
    return list;
  }
  Tensor tensor(int rank, std::int64_t count, DType dtype) {
    return tensor_of(*ops, values(rank, count, dtype), {count}, dtype, *stream);
  }
  std::vector<double> read(const Tensor& tensor) { return values_of(*ops, tensor, *stream); }
  /// `count` elements reduced in rank order by the arithmetic of MpiCommunicator, or backwards.
  std::vector<double> reduced(std::int64_t count, DType dtype, ReduceOp op, bool backwards = false) {
    std::vector<std::vector<std::byte>> all;
    for (int rank = 0; rank < world.size(); ++rank) {
      all.emplace_back(static_cast<std::size_t>(count) * size_bytes(dtype));
      ops->download(all.back(), tensor(rank, count, dtype), *stream);
    }
    stream->synchronize();
    std::vector<const std::byte*> contributions;
    for (const auto& one : all) contributions.push_back(one.data());
    if (backwards) std::reverse(contributions.begin(), contributions.end());
    std::vector<std::byte> out(all[0].size());
    reduce_in_rank_order(out.data(), contributions, count, dtype, op);
    Tensor result = ops->empty({count}, dtype);
    ops->upload(result, out, *stream);
    return read(result);
  }

  HostGroup world = HostGroup::world();
  SimulatedDevice device;
  FakeNccl nccl{world, device};
  std::unique_ptr<Backend> ops = make_backend("cpu");
  std::unique_ptr<Stream> stream = device.make_stream();
  std::string given_up;  ///< why the watch wanted to end the process
  std::unique_ptr<NcclSession> session;
  std::unique_ptr<NcclCommunicator> comm;
};

}  // namespace athanor::testing
