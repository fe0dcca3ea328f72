// Communicator over MPI for tensors in host memory (devices "cpu" and "cpu-guarded").
// Law: sums run in rank order whatever the size and the timing, so that a result repeats bit for bit and large and
// small tensors give the same bits: f64 in f64, f32 in f32, bf16 accumulated in f32 and rounded once, integers in their
// own type. All elements are touched inside stream work only. Staging memory is bounded (about kStagingBytes) and kept:
// a steady state allocates nothing.
//
// How a sum runs: the tensor is cut into size() parts; every rank sends each other rank its piece of that rank's part
// and adds up, in rank order, what it received for its own (a reduce-scatter by pairwise exchange, in pieces of bounded
// size); all_reduce then gathers the parts. A small tensor is gathered whole and summed everywhere: one message round,
// the same order of additions.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <vector>

#include "parallel/host_group.hpp"
#include "src/backend/communicator.hpp"

namespace athanor {

class MpiCommunicator final : public Communicator {
 public:
  static constexpr std::size_t kStagingBytes = std::size_t{4} << 20;
  /// Where the gathered contributions are at most this many bytes, they travel in one round.
  static constexpr std::size_t kSmallBytes = std::size_t{16} << 10;

  /// Messages of its own among the ranks of `group`. Collective.
  explicit MpiCommunicator(const HostGroup& group) : group_(group.duplicate()) {}
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;
  /// Messages still under way (the step ended with an error) are given up.
  ~MpiCommunicator() override;

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
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
  /// A message under way, or a piece of a long one.
  struct Transfer {
    Ticket ticket;
    P2p::Kind kind;
    Tensor tensor;  ///< keeps the memory
    MPI_Request request;
  };

  void run_all_reduce(const Tensor& inout, ReduceOp op);
  void run_reduce_scatter(const Tensor& out, const Tensor& in, ReduceOp op);
  void run_all_gather(const Tensor& out, const Tensor& in);
  void run_all_to_all_v(const Tensor& out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                        std::span<const std::int64_t> send_rows);
  void run_start_exchange(std::span<const P2p> messages, Ticket first);
  /// Waits for the messages of this kind with tickets in [first, last). @returns whether there was one.
  bool run_wait(P2p::Kind kind, Ticket first, Ticket last);
  void forget(std::size_t index);
  void require_peers(std::span<const P2p> messages) const;

  /// out[0, part(rank)) = reduction of the parts of `in`; part q of `in` is elements [q*stride, min((q+1)*stride,
  /// total)).
  void reduce_parts(std::byte* out, const std::byte* in, std::int64_t stride, std::int64_t total, DType dtype,
                    ReduceOp op);
  void post_send(const std::byte* data, std::size_t bytes, int peer);
  void post_receive(std::byte* data, std::size_t bytes, int peer);
  void wait_all();
  std::byte* staging(std::size_t bytes);

  HostGroup group_;
  std::vector<std::byte> staging_;
  std::vector<const std::byte*> contributions_;
  std::vector<MPI_Request> requests_;
  std::vector<Transfer> transfers_;
  Ticket next_ticket_ = 0;
};

}  // namespace athanor
