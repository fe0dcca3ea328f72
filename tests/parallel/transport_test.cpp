// Which transport is chosen, and what is refused, by the rule alone.
#include "parallel/transport.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace athanor {
namespace {

const Device kCpu{Device::Kind::cpu_guarded, 0}, kGpu{Device::Kind::cuda, 0};
const std::vector<std::string> kNone(2), kApart{"GPU a of n1", "GPU b of n1"}, kShared{"GPU a of n1", "GPU a of n1"};

std::string refusal(Transport wanted, Device device, const std::vector<std::string>& gpus, const std::string& no_nccl) {
  try {
    choose_transport(wanted, device, gpus, no_nccl);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "not refused";
}

// auto takes the fastest way that serves, and says why.
TEST(Transport, AutoChoosesAndSaysWhy) {
  const auto chosen = [](Device device, const std::vector<std::string>& gpus, const std::string& no_nccl) {
    return choose_transport(Transport::automatic, device, gpus, no_nccl);
  };
  EXPECT_EQ(chosen(kCpu, kNone, "").transport, Transport::mpi);
  EXPECT_EQ(chosen(kGpu, kApart, "").transport, Transport::nccl);
  EXPECT_EQ(chosen(kGpu, kShared, "").transport, Transport::staged);
  EXPECT_EQ(chosen(kGpu, kApart, "this build has no NCCL").transport, Transport::staged);
  EXPECT_EQ(chosen(kCpu, kNone, "").why, "mpi (the tensors of device cpu-guarded lie in host memory)");
  EXPECT_EQ(chosen(kGpu, kShared, "").why, "staged (ranks 0 and 1 share GPU a of n1, which NCCL refuses)");
  EXPECT_EQ(chosen(kGpu, kApart, "this build has no NCCL").why, "staged (this build has no NCCL)");
}

// What was asked for is used or refused, with what would serve.
TEST(Transport, RequestsAreUsedOrRefused) {
  EXPECT_EQ(choose_transport(Transport::staged, kCpu, kNone, "").why, "staged (as parallel.transport says)");
  EXPECT_EQ(choose_transport(Transport::staged, kGpu, kApart, "").transport, Transport::staged);
  EXPECT_EQ(choose_transport(Transport::nccl, kGpu, kApart, "").transport, Transport::nccl);
  EXPECT_NE(refusal(Transport::nccl, kCpu, kNone, "").find("run.device is cpu-guarded"), std::string::npos);
  EXPECT_NE(refusal(Transport::mpi, kGpu, kApart, "").find("choose nccl, or staged"), std::string::npos);
  EXPECT_NE(refusal(Transport::nccl, kGpu, kShared, "").find("ranks 0 and 1 share GPU a of n1"), std::string::npos);
  EXPECT_NE(refusal(Transport::nccl, kGpu, kApart, "no NCCL here").find("no NCCL here"), std::string::npos);
}

// "cuda" is shared out over the GPUs of a machine; a device with a number is meant.
TEST(Transport, RanksTakeGpusInTurn) {
  const std::vector<std::string> offered{"cpu", "cpu-guarded", "cuda:0", "cuda:1"};
  EXPECT_EQ(device_of_rank("cuda", 1, offered), "cuda:1");
  EXPECT_EQ(device_of_rank("cuda", 2, offered), "cuda:0");
  EXPECT_EQ(device_of_rank("cuda:1", 0, offered), "cuda:1");
  EXPECT_EQ(device_of_rank("cpu", 3, offered), "cpu");
  EXPECT_EQ(device_of_rank("cuda", 0, {"cpu"}), "cuda");  // refused by make_backend, which says why
}

}  // namespace
}  // namespace athanor
