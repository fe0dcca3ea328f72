// A Communicator that first compares the call over all ranks. Law: before a collective on tensors runs, operation, type
// and counts must be the same everywhere; where they are not, every rank throws CollectiveMismatch naming the odd ones
// instead of hanging or adding up the wrong numbers. A message between two ranks is compared by its receiver, which
// alone throws. Costs one host message a call, so it is for debugging and tests.
#pragma once

#include <string>

#include "parallel/host_group.hpp"
#include "parallel/message_check.hpp"
#include "src/backend/communicator.hpp"

namespace athanor {

class CheckedCommunicator final : public Communicator {
 public:
  /// Long enough for a pipeline whose parts take minutes.
  static constexpr double kPatienceSeconds = 300.0;

  /// Collective. @param transport  does the work; must outlive this.   @param where  ends the operation's name in
  /// messages.   @param patience_seconds  how long a receive waits for its sender to say what it sends.
  CheckedCommunicator(Communicator& transport, const HostGroup& group, std::string where,
                      double patience_seconds = kPatienceSeconds)
      : transport_(transport),
        group_(group.duplicate()),
        where_(std::move(where)),
        messages_(group_, where_, patience_seconds) {}

  int rank() const override { return transport_.rank(); }
  int size() const override { return transport_.size(); }
  void all_reduce(Tensor inout, ReduceOp op, Stream& stream) override;
  void reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) override;
  void all_gather(Tensor out, const Tensor& in, Stream& stream) override;
  void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                    std::span<const std::int64_t> send_rows, Stream& stream) override;
  void broadcast(Tensor inout, int root, Stream& stream) override;
  /// Returns when all sends under way are gone, not its own alone.
  /// @throws CollectiveMismatch where a peer sends another type or shape, CommError where it sends nothing.
  void exchange(std::span<const P2p> messages, Stream& stream) override;
  Ticket start_exchange(std::span<const P2p> messages, Stream& stream) override;
  /// @throws as exchange.
  void finish_receive(Ticket ticket, Stream& stream) override;
  void finish_sends(Stream& stream) override { transport_.finish_sends(stream); }

 private:
  void check(const char* operation, const Tensor& tensor, std::int64_t detail, bool whole_shape = true);

  Communicator& transport_;
  HostGroup group_;
  std::string where_;
  MessageCheck messages_;
};

}  // namespace athanor
