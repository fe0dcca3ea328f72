// The Communicator of a group of one: collectives are copies, or nothing where in and out are the same memory.
#pragma once

#include <numeric>
#include <string>

#include "src/backend/backend.hpp"
#include "src/backend/communicator.hpp"
#include "src/base/error.hpp"

namespace athanor {

class SoloCommunicator final : public Communicator {
 public:
  /// @param ops  must outlive this.
  explicit SoloCommunicator(Backend& ops) : ops_(ops) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(Tensor, ReduceOp, Stream&) override {}
  void reduce_scatter(Tensor out, const Tensor& in, ReduceOp, Stream& stream) override { copy(out, in, stream); }
  void all_gather(Tensor out, const Tensor& in, Stream& stream) override { copy(out, in, stream); }
  void broadcast(Tensor, int, Stream&) override {}

  void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                    std::span<const std::int64_t> send_rows, Stream& stream) override {
    if (recv_rows.size() != 1 || send_rows.size() != 1 || recv_rows[0] != send_rows[0])
      throw Error("all_to_all_v in a group of one: wanted one count of rows, the same to send and to receive");
    copy(out.rows(0, recv_rows[0]), in.rows(0, send_rows[0]), stream);
  }

  /// The n-th send to oneself meets the n-th receive.
  void exchange(std::span<const P2p> messages, Stream& stream) override {
    std::size_t receive = 0;
    const auto next_receive = [&] {
      while (receive < messages.size() && messages[receive].kind != P2p::Kind::recv) ++receive;
      if (receive == messages.size()) throw Error("exchange in a group of one: a send without a receive");
      return messages[receive++].tensor;
    };
    for (const P2p& message : messages)
      if (message.kind == P2p::Kind::send) copy(next_receive(), message.tensor, stream);
  }

 private:
  void copy(const Tensor& out, const Tensor& in, Stream& stream) {
    if (out.dtype() != in.dtype() || out.numel() != in.numel())
      throw Error("a collective in a group of one: " + out.to_string() + " cannot hold " + in.to_string());
    if (out.unsafe_data() != in.unsafe_data() && in.numel() > 0) ops_.copy(out, in, stream);
  }

  Backend& ops_;
};

}  // namespace athanor
