// A Communicator that first compares the call over all ranks. Law: before a collective on tensors runs, operation, type
// and counts must be the same everywhere; where they are not, every rank throws CollectiveMismatch naming the odd ones
// instead of hanging or adding up the wrong numbers. Costs one host message a call, so it is for debugging and tests.
#pragma once

#include <string>

#include "parallel/host_group.hpp"
#include "src/backend/communicator.hpp"

namespace athanor {

class CheckedCommunicator final : public Communicator {
 public:
  /// @param transport  does the work; must outlive this.   @param where  ends the operation's name in messages.
  CheckedCommunicator(Communicator& transport, const HostGroup& group, std::string where)
      : transport_(transport), group_(group.duplicate()), where_(std::move(where)) {}

  int rank() const override { return transport_.rank(); }
  int size() const override { return transport_.size(); }
  void all_reduce(Tensor inout, ReduceOp op, Stream& stream) override;
  void reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) override;
  void all_gather(Tensor out, const Tensor& in, Stream& stream) override;
  void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                    std::span<const std::int64_t> send_rows, Stream& stream) override;
  void broadcast(Tensor inout, int root, Stream& stream) override;
  /// Only the peers named take part, so nothing is compared.
  void exchange(std::span<const P2p> messages, Stream& stream) override { transport_.exchange(messages, stream); }
  Ticket start_exchange(std::span<const P2p> messages, Stream& stream) override {
    return transport_.start_exchange(messages, stream);
  }
  void finish_receive(Ticket ticket, Stream& stream) override { transport_.finish_receive(ticket, stream); }
  void finish_sends(Stream& stream) override { transport_.finish_sends(stream); }

 private:
  void check(const char* operation, const Tensor& tensor, std::int64_t detail, bool whole_shape = true);

  Communicator& transport_;
  HostGroup group_;
  std::string where_;
};

}  // namespace athanor
