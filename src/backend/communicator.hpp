// Collectives on tensors: the data plane. Declared here so that layers can use it; implemented in parallel/.
// Law: as in NCCL, a call returns when it is enqueued on the stream. All ranks of a group issue the same calls in the
// same order. Sums run in rank order (f64 in f64, everything else accumulated in f32), so a result repeats bit for bit
// and does not depend on message timing. Counts are elements or rows, never bytes.
#pragma once

#include <cstdint>
#include <span>

#include "src/backend/stream.hpp"
#include "src/backend/tensor.hpp"

namespace athanor {

enum class ReduceOp : std::uint8_t { sum, mean, max };

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// inout = reduction over ranks of inout. Collective.
  virtual void all_reduce(Tensor inout, ReduceOp op, Stream& stream) = 0;
  /// out = part `rank` of the reduction of in; in.numel() == size() * out.numel(). Collective. out may be that part of
  /// in.
  virtual void reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) = 0;
  /// out = concatenation of in over ranks; out.numel() == size() * in.numel(). Collective. in may be its part of out.
  virtual void all_gather(Tensor out, const Tensor& in, Stream& stream) = 0;
  /// Sends send_rows[p] consecutive rows of `in` to rank p and receives recv_rows[p] rows from it. Collective.
  virtual void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                            std::span<const std::int64_t> send_rows, Stream& stream) = 0;
  /// inout of `root` on every rank. Collective.
  virtual void broadcast(Tensor inout, int root, Stream& stream) = 0;

  struct P2p {
    enum class Kind : std::uint8_t { send, recv } kind;
    Tensor tensor;
    int peer;
  };
  /// All messages at once: no order among them, hence no ordering deadlock. Between the named peers only. What one rank
  /// sends another meets the receives there in order, whatever call started them.
  virtual void exchange(std::span<const P2p> messages, Stream& stream) = 0;

  /// A message under way.
  using Ticket = std::int64_t;
  /// As exchange, but the messages travel beside the work that follows on `stream`; they carry what is on it so far. A
  /// tensor sent is kept until it has gone and must not be written before (finish_sends). Allocates nothing once as
  /// many messages have been under way. @returns the ticket of the first message; those of the others count up.
  virtual Ticket start_exchange(std::span<const P2p> messages, Stream& stream) = 0;
  /// Work on `stream` from here on finds the data of that receive. Once for every receive.
  virtual void finish_receive(Ticket ticket, Stream& stream) = 0;
  /// Work on `stream` from here on may write what was sent.
  virtual void finish_sends(Stream& stream) = 0;
};

}  // namespace athanor
