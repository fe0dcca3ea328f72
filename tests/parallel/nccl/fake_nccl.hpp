// NCCL as its manual describes it, over MPI and host memory: non-blocking communicators that take several questions to
// open, groups, calls that occupy their stream until all ranks have come, calls of one communicator one after another
// whatever their streams, abort. What it checks is the caller: a communicator used before it is open, after its end or
// outside its ranks makes the test fail by status invalid_usage.
//
// Faults are planned by the test: a call that never ends, an asynchronous error, a refusal.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/host_group.hpp"
#include "parallel/nccl/nccl_api.hpp"
#include "tests/parallel/nccl/simulated_device.hpp"

namespace athanor::testing {

class FakeNccl final : public NcclApi {
 public:
  FakeNccl(const HostGroup& world, SimulatedDevice& device);
  ~FakeNccl() override;

  int version() const override { return 22809; }
  std::string error_text(NcclStatus status, const NcclHandle* comm) const override;
  NcclStatus unique_id(NcclId& id) override;
  NcclStatus init(NcclHandle*& comm, int ranks, const NcclId& id, int rank, const char* name) override;
  NcclStatus split(NcclHandle* parent, int color, int key, NcclHandle*& comm, const char* name) override;
  NcclStatus async_error(NcclHandle* comm, NcclStatus& state) override;
  NcclStatus finalize(NcclHandle* comm) override;
  NcclStatus destroy(NcclHandle* comm) override;
  NcclStatus abort(NcclHandle* comm) override;
  NcclStatus group_start() override;
  NcclStatus group_end() override;
  NcclStatus all_reduce(std::byte* inout, std::size_t count, DType dtype, ReduceOp op, NcclHandle* comm,
                        Stream& stream) override;
  NcclStatus reduce_scatter(const std::byte* in, std::byte* out, std::size_t out_count, DType dtype, ReduceOp op,
                            NcclHandle* comm, Stream& stream) override;
  NcclStatus all_gather(const std::byte* in, std::byte* out, std::size_t in_count, DType dtype, NcclHandle* comm,
                        Stream& stream) override;
  NcclStatus broadcast(std::byte* inout, std::size_t count, DType dtype, int root, NcclHandle* comm,
                       Stream& stream) override;
  NcclStatus send(const std::byte* in, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                  Stream& stream) override;
  NcclStatus receive(std::byte* out, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                     Stream& stream) override;
  void sum_in_rank_order(const RankSum& sum, Stream& stream) override;
  std::unique_ptr<NcclMark> make_mark() override { return device_.make_mark(); }
  std::unique_ptr<Stream> make_stream() override { return device_.make_stream(); }

  // ---- faults and findings
  bool hang_next_call = false;
  NcclStatus refuse_next_call = NcclStatus::success;
  NcclStatus refuse_opening = NcclStatus::success;
  bool never_open = false;
  int turns_of_a_sum = 1;  ///< how long a kernel takes
  /// From now on of every communicator that is asked. Any thread.
  std::atomic<NcclStatus> asynchronous = NcclStatus::success;
  int aborted() const { return aborted_; }
  /// Communicators that live.
  int open() const { return open_; }

 private:
  struct Message {
    bool sends;
    std::byte* data;
    std::size_t bytes;
    int peer;
  };
  /// Messages of one rank of one communicator, and what to do when they are here.
  NcclStatus enqueue(NcclHandle* comm, std::vector<Message> messages, std::function<void()> after, Stream& stream);
  NcclStatus post(const Message& message, NcclHandle* comm, Stream& stream);
  NcclHandle* make(std::vector<int> ranks, int own, int number);
  bool usable(const NcclHandle* comm) const;

  MPI_Comm comm_ = MPI_COMM_NULL;
  int world_rank_, ids_ = 0, splits_ = 0;
  std::atomic<int> aborted_ = 0, open_ = 0;
  SimulatedDevice& device_;
  int group_depth_ = 0;
  struct Grouped {
    NcclHandle* comm;
    Stream* stream;
    std::vector<Message> messages;
  };
  std::vector<Grouped> grouped_;
};

}  // namespace athanor::testing
