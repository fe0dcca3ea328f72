// What becomes of a session when NCCL refuses, fails beside its calls or never ends: one text, later calls that throw
// it, and an end where nobody listens. All ranks meet the same fault, so that the test itself goes on together.
#include <chrono>
#include <thread>

#include "src/base/error.hpp"
#include "tests/parallel/nccl/nccl_fixture.hpp"

namespace athanor::testing {
namespace {

class NcclFailureTest : public NcclTest {
 protected:
  void SetUp() override {
    if (world.size() == 1) GTEST_SKIP() << "a group of one has no communicator";
  }
  template <class F>
  static std::string complaint(F&& f) {
    try {
      f();
    } catch (const CommError& error) {
      return error.what();
    }
    return "no error";
  }
  std::string rank_text() const { return " on rank " + std::to_string(world.rank()) + " (ranks of the job in it: 0 1"; }
  static void expect_has(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "wanted \"" << part << "\" in: " << text;
  }
};

// A library that refuses to open says why.
TEST_F(NcclFailureTest, RefusedOpening) {
  nccl.refuse_opening = NcclStatus::invalid_usage;
  const std::string text = complaint([&] { connect(); });
  expect_has(text, "nccl: opening the communicator along world" + rank_text());
  expect_has(text, "invalid usage");
}

// A communicator that never opens is given up at the deadline and aborted.
TEST_F(NcclFailureTest, OpeningHasADeadline) {
  nccl.never_open = true;
  const std::string text = complaint([&] { connect({.open_seconds = 0.05}); });
  expect_has(text, "not done within the 0.05 s");
  EXPECT_EQ(nccl.aborted(), 1);
}

// A refused call names itself; the communicator is dead afterwards and says the same again.
TEST_F(NcclFailureTest, RefusedCall) {
  connect();
  Tensor inout = tensor(world.rank(), 8, DType::f32);
  nccl.refuse_next_call = NcclStatus::unhandled_cuda_error;
  const std::string text = complaint([&] { comm->all_reduce(inout, ReduceOp::sum, *stream); });
  expect_has(text, "nccl: all_reduce along dp, number 1, f32 x 8" + rank_text());
  expect_has(text, "unhandled cuda error");
  EXPECT_EQ(complaint([&] { comm->broadcast(inout, 0, *stream); }), text);
}

// A call that never ends on the device is seen, aborted, and told by the next call; the stream comes free meanwhile.
TEST_F(NcclFailureTest, HangOnTheDevice) {
  connect({.call_seconds = 0.2});
  Tensor inout = tensor(world.rank(), 8, DType::f32);
  nccl.hang_next_call = true;
  comm->all_reduce(inout, ReduceOp::sum, *stream);
  stream->synchronize();
  const std::string text = complaint([&] { comm->broadcast(inout, 0, *stream); });
  expect_has(text, "nccl: all_reduce along dp, number 1, f32 x 8" + rank_text());
  expect_has(text, "not ended within the 0.2 s of parallel.nccl_timeout");
  EXPECT_TRUE(given_up.empty()) << given_up;
}

// A call queued behind a long computation is not late: only what has begun on the device counts.
TEST_F(NcclFailureTest, WaitingForTheStreamIsNotHanging) {
  connect({.call_seconds = 0.2});
  Tensor inout = tensor(world.rank(), 8, DType::f32);
  stream->enqueue_host([] { std::this_thread::sleep_for(std::chrono::milliseconds(500)); });
  comm->all_reduce(inout, ReduceOp::sum, *stream);
  EXPECT_EQ(read(inout), reduced(8, DType::f32, ReduceOp::sum));
}

// An error beside the calls fails the session, links that are fine by themselves included.
TEST_F(NcclFailureTest, AsynchronousError) {
  connect();
  nccl.asynchronous = NcclStatus::remote_error;
  std::string text = "no error";
  Tensor inout = tensor(world.rank(), 8, DType::f32);
  for (int i = 0; i < 100 && text == "no error"; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    text = complaint([&] { session->watch().require_healthy(); });
  }
  expect_has(text, "remote process exited");
  EXPECT_EQ(complaint([&] { comm->all_reduce(inout, ReduceOp::sum, *stream); }), text);
}

// Where this rank never comes back to hear of it, the process is ended.
TEST_F(NcclFailureTest, NobodyListens) {
  connect({.call_seconds = 0.1}, 0.3);
  Tensor inout = tensor(world.rank(), 8, DType::f32);
  nccl.hang_next_call = true;
  comm->all_reduce(inout, ReduceOp::sum, *stream);
  stream->synchronize();
  std::this_thread::sleep_for(std::chrono::milliseconds(800));
  comm.reset();
  session.reset();  // joins the thread that writes given_up
  expect_has(given_up, "all_reduce along dp, number 1");
}

}  // namespace
}  // namespace athanor::testing
