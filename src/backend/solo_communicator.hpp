// The Communicator of a group of one: collectives are copies, or nothing where in and out are the same memory.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

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
    start_exchange(messages, stream);
    if (!sends_.empty() || !receives_.empty())
      throw Error("exchange in a group of one: a send without a receive, or a receive without a send");
  }
  Ticket start_exchange(std::span<const P2p> messages, Stream& stream) override {
    const Ticket first = next_ticket_;
    for (const P2p& message : messages)
      (message.kind == P2p::Kind::send ? sends_ : receives_).push_back({message.tensor, next_ticket_++});
    const std::size_t met = std::min(sends_.size(), receives_.size());
    for (std::size_t i = 0; i < met; ++i) copy(receives_[i].tensor, sends_[i].tensor, stream);
    for (auto* list : {&sends_, &receives_})
      list->erase(list->begin(), list->begin() + static_cast<std::ptrdiff_t>(met));
    return first;
  }
  void finish_receive(Ticket ticket, Stream&) override {
    for (const Waiting& waiting : receives_)
      if (waiting.ticket == ticket) throw Error("finish_receive in a group of one: a receive without a send");
  }
  void finish_sends(Stream&) override {
    if (!sends_.empty()) throw Error("finish_sends in a group of one: a send without a receive");
  }

 private:
  void copy(const Tensor& out, const Tensor& in, Stream& stream) {
    if (out.dtype() != in.dtype() || out.numel() != in.numel())
      throw Error("a collective in a group of one: " + out.to_string() + " cannot hold " + in.to_string());
    if (out.unsafe_data() != in.unsafe_data() && in.numel() > 0) ops_.copy(out, in, stream);
  }

  struct Waiting {
    Tensor tensor;
    Ticket ticket;
  };
  Backend& ops_;
  std::vector<Waiting> sends_, receives_;  ///< not met yet
  Ticket next_ticket_ = 0;
};

}  // namespace athanor
