// Communicator for tensors of a device that MPI cannot read: they go through host memory, where MpiCommunicator does
// the work. For several ranks on one GPU, which NCCL refuses, for builds without NCCL, and to compare with NCCL.
//
// Law: a call waits for the stream, sends and receives on the calling thread, and enqueues the results. Work of a CUDA
// stream runs on a thread of CUDA's, and MPI is used from one thread; so nothing is overlapped here, and what counts is
// that the bits are those of MpiCommunicator. Host memory is kept: a steady state allocates nothing.
#pragma once

#include <memory>
#include <vector>

#include "parallel/mpi/mpi_communicator.hpp"
#include "src/backend/backend.hpp"

namespace athanor {

class StagedCommunicator final : public Communicator {
 public:
  /// Collective over `group`. @param ops  of the device; must outlive this.
  StagedCommunicator(const HostGroup& group, Backend& ops);
  ~StagedCommunicator() override;

  int rank() const override { return mpi_.rank(); }
  int size() const override { return mpi_.size(); }
  void all_reduce(Tensor inout, ReduceOp op, Stream& stream) override;
  void reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) override;
  void all_gather(Tensor out, const Tensor& in, Stream& stream) override;
  void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                    std::span<const std::int64_t> send_rows, Stream& stream) override;
  void broadcast(Tensor inout, int root, Stream& stream) override;
  void exchange(std::span<const P2p> messages, Stream& stream) override;
  Ticket start_exchange(std::span<const P2p> messages, Stream& stream) override;
  void finish_receive(Ticket ticket, Stream& stream) override;
  void finish_sends(Stream& stream) override;

 private:
  struct Receive {
    Ticket ticket;
    Tensor device, host;
  };
  /// A tensor of the host of the same shape and type.
  Tensor host_tensor(const Tensor& device);
  /// The same with its elements, once the stream has been waited for.
  Tensor downloaded(const Tensor& device, Stream& stream);
  void upload(const Tensor& device, const Tensor& host, Stream& stream);

  Backend& ops_;
  std::unique_ptr<Backend> host_;
  std::unique_ptr<Stream> at_once_;
  MpiCommunicator mpi_;
  std::vector<P2p> batch_;
  std::vector<Receive> receives_;
};

}  // namespace athanor
