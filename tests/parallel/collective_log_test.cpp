// The record of collectives: what every rank of a machine can say of every other.
#include <gtest/gtest.h>

#include "parallel/collective_log.hpp"
#include "parallel/process_mesh.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/tensor_values.hpp"

namespace athanor {
namespace {

class CollectiveLogTest : public ::testing::TestWithParam<const char*> {
 protected:
  CollectiveLogTest() { world.set_log(&log); }
  CollectiveState mine() const { return log.state(log.own()); }

  HostGroup world = HostGroup::world();
  CollectiveLog log{world};
  std::unique_ptr<Backend> ops = make_backend(GetParam());
  std::unique_ptr<Stream> stream = ops->make_stream();
};

// Ranks of a machine read each other's records, and know each other's ranks and processes.
TEST_P(CollectiveLogTest, RanksOfAMachineSeeEachOther) {
  EXPECT_EQ(log.refusal(), "");
  ASSERT_EQ(log.ranks_here(), world.size());  // all on one machine
  EXPECT_EQ(to_string(mine()), "none yet");
  for (int i = 0; i <= world.rank(); ++i) {
    const CollectiveLog::Call call(&log, {.operation = Operation::broadcast, .group = "tp", .number = i + 1});
  }
  world.set_log(nullptr);
  world.barrier();
  for (int here = 0; here < log.ranks_here(); ++here) {
    EXPECT_EQ(log.world_rank(here), here);
    EXPECT_GT(log.process(here), 0);
    EXPECT_TRUE(log.lives(here));
    EXPECT_EQ(log.state(here).calls, here + 1);
    EXPECT_EQ(log.state(here).call.number, here + 1);
    EXPECT_TRUE(log.state(here).finished);
  }
  world.barrier();
}

// A mesh records calls on tensors and on host messages under the names of its axes, begun and finished.
TEST_P(CollectiveLogTest, NamesTheAxisAndTheTensor) {
  if (world.size() == 1) return;
  ProcessMesh mesh(world, {.tp = world.size()}, *ops);
  Tensor inout = ops->empty({3, 5}, DType::f64);
  ops->fill(inout, 1.0, *stream);
  mesh.along(Axis::tp).all_reduce(inout, ReduceOp::sum, *stream);
  stream->synchronize();
  EXPECT_EQ(to_string(mine()).find("all_reduce along tp, number 1, f64 x 15 (120 bytes), starting: finished"), 0U)
      << to_string(mine());
  {
    const CollectiveLog::Step step(&log, 12);
    mesh.host(Axis::tp).sum(1.0);
    EXPECT_EQ(to_string(mine()).find(
                  "all_gather of host messages along tp, number 1, f64 x 1 (8 bytes), in step 12: finished"),
              0U)
        << to_string(mine());
  }
  EXPECT_EQ(mine().step, 0);
  EXPECT_FALSE(mine().failed);
}

// Of a message the record names the other rank, also when it is finished later.
TEST_P(CollectiveLogTest, NamesThePeerOfAMessage) {
  if (world.size() != 2) return;
  ProcessMesh mesh(world, {.pp = 2}, *ops);
  const Tensor tensor = ops->empty({7}, DType::f32);
  const int other = 1 - world.rank();
  ops->fill(tensor, 1.0, *stream);
  const Communicator::P2p message{world.rank() == 0 ? Communicator::P2p::Kind::send : Communicator::P2p::Kind::recv,
                                  tensor, other};
  const Communicator::Ticket ticket = mesh.along(Axis::pp).start_exchange({&message, 1}, *stream);
  if (world.rank() == 1) mesh.along(Axis::pp).finish_receive(ticket, *stream);
  stream->synchronize();
  const std::string wanted = world.rank() == 0
                                 ? "start_exchange along pp, number 1, f32 x 7 (28 bytes), with rank 1 of pp"
                                 : "finish_receive along pp, number 2, f32 x 7 (28 bytes), with rank 0 of pp";
  EXPECT_EQ(to_string(mine()).find(wanted), 0U) << to_string(mine());
  mesh.along(Axis::pp).finish_sends(*stream);
  stream->synchronize();
}

// A call inside another does not hide it, and what destructors call while an exception unwinds does not either.
TEST_P(CollectiveLogTest, KeepsTheOuterCallAndThePlaceOfFailure) {
  struct CallsWhenItDies {
    CollectiveLog& log;
    ~CallsWhenItDies() { const CollectiveLog::Call call(&log, {.operation = Operation::barrier, .group = "late"}); }
  };
  try {
    const CollectiveLog::Step step(&log, 5);
    const CallsWhenItDies late{log};
    const CollectiveLog::Call outer(&log, {.operation = Operation::all_gather, .group = "ep", .number = 3});
    { const CollectiveLog::Call inner(&log, {.operation = Operation::barrier, .group = "dp"}); }
    EXPECT_FALSE(mine().finished);
    throw Error("as it happens");
  } catch (const Error&) {
  }
  EXPECT_STREQ(mine().group_text, "ep");
  EXPECT_EQ(mine().call.number, 3);
  EXPECT_EQ(mine().calls, 1);
  EXPECT_FALSE(mine().finished);
  EXPECT_TRUE(mine().failed);
  EXPECT_EQ(mine().step, 5);
  { const CollectiveLog::Call next(&log, {.operation = Operation::barrier, .group = "dp"}); }
  EXPECT_TRUE(mine().finished);
}

// A fault comes at its rank, axis, step and call, and nowhere else; one whose call never comes is an error.
TEST_P(CollectiveLogTest, AFaultComesWhereItIsAskedFor) {
  log.set_fault(parse_fault("throw@rank=0:axis=ep:step=2:call=3"));
  const auto call = [&](std::string_view group) {
    const CollectiveLog::Call marked(&log, {.operation = Operation::barrier, .group = group});
  };
  const auto step = [&](std::int64_t number, int calls) {
    const CollectiveLog::Step marked(&log, number);
    for (int i = 0; i < calls; ++i) {
      call("tp");
      call("ep");
    }
  };
  EXPECT_NO_THROW(step(1, 5));
  EXPECT_NO_THROW(step(2, 2));
  if (world.rank() == 0)
    EXPECT_THROW(step(3, 1), ConfigError);
  else
    EXPECT_NO_THROW(step(3, 1));
  log.set_fault(parse_fault("throw@rank=0:axis=ep:step=4:call=3"));
  if (world.rank() == 0)
    EXPECT_THROW(step(4, 3), Error);
  else
    EXPECT_NO_THROW(step(4, 3));
}

// A fault of a phase comes at its call in that phase; one that is given again goes on counting, one that never came is
// an error.
TEST_P(CollectiveLogTest, AFaultComesInItsPhase) {
  const std::string text = "throw@rank=0:phase=rollout:call=2";
  log.set_fault(parse_fault(text));
  const auto call = [&](JobPhase phase) {
    const CollectiveLog::InPhase marked(&log, phase);
    const CollectiveLog::Call one(&log, {.operation = Operation::barrier, .group = "dp"});
  };
  EXPECT_NO_THROW(call(JobPhase::evaluation));
  EXPECT_NO_THROW(call(JobPhase::rollout));
  if (world.rank() == 0) {
    EXPECT_THROW(log.set_fault(std::nullopt), ConfigError);
  }
  EXPECT_NO_THROW(log.set_fault(parse_fault(text)));
  if (world.rank() == 0)
    EXPECT_THROW(call(JobPhase::rollout), Error);
  else
    EXPECT_NO_THROW(call(JobPhase::rollout));
  EXPECT_EQ(mine().phase, world.rank() == 0 ? JobPhase::rollout : JobPhase::starting);
  EXPECT_NO_THROW(log.set_fault(std::nullopt));
}

// Ranks that stand in the same call of the same group are told from those that do not.
TEST_P(CollectiveLogTest, KnowsWhoStandsInTheSameCall) {
  const GroupMembers* members = log.members_of({0, 1});
  EXPECT_EQ(members, log.members_of({0, 1}));
  EXPECT_NE(members->key, log.members_of({1, 0})->key);
  const CollectiveLog::Call call(&log,
                                 {.operation = Operation::barrier, .group = "dp", .number = 4, .members = members});
  CollectiveState other = mine();
  EXPECT_TRUE(in_same_call(mine(), other));
  EXPECT_EQ(log.own_members(), members);
  other.call.number = 5;
  EXPECT_FALSE(in_same_call(mine(), other)) << "a later call";
  other = mine();
  other.members_key = 0;
  EXPECT_FALSE(in_same_call(mine(), other)) << "another group";
}

INSTANTIATE_TEST_SUITE_P(Devices, CollectiveLogTest, ::testing::Values("cpu", "cpu-guarded"),
                         [](const auto& info) { return std::string(info.param) == "cpu" ? "cpu" : "cpu_guarded"; });

// What is written reads back, and what cannot be read is refused with the reason.
TEST(Fault, IsReadAndWritten) {
  EXPECT_EQ(to_string(parse_fault("kill@axis=tp")), "kill@rank=0:axis=tp:step=1:call=1");
  EXPECT_EQ(to_string(parse_fault("throw@rank=1:axis=ep:step=3:call=2")), "throw@rank=1:axis=ep:step=3:call=2");
  EXPECT_EQ(to_string(parse_fault("stop@phase=rollout")), "stop@rank=0:phase=rollout:call=1");
  EXPECT_EQ(to_string(parse_fault("delay@axis=data:seconds=0.5")), "delay@rank=0:axis=data:step=1:call=1:seconds=0.5");
  EXPECT_EQ(to_string(parse_fault("nan@rank=1:step=7")), "nan@rank=1:step=7");
  for (const char* text : {"", "kill", "burn@axis=tp", "kill@axis=tp:phase=data", "nan@axis=tp", "hang@phase=nap",
                           "kill@rank=1", "kill@axis=tp:step=0", "kill@axis=tp:step=x", "kill@axis=tp:rank=-1",
                           "kill@axis=tp:call=", "kill@axis=tp:hour=3", "kill@axis"})
    EXPECT_THROW(parse_fault(text), ConfigError) << text;
}

}  // namespace
}  // namespace athanor
