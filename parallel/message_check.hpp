// Messages between two ranks, announced: for CheckedCommunicator. Law: whoever sends a tensor first sends its type and
// shape on a plane of its own; whoever receives compares them with what it expects before it takes the tensor, in the
// order in which the two ranks' messages meet. Only the receiver sees a mismatch. Everything here is stream work.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <vector>

#include "parallel/host_group.hpp"
#include "src/backend/communicator.hpp"

namespace athanor {

class MessageCheck {
 public:
  using P2p = Communicator::P2p;
  using Ticket = Communicator::Ticket;

  /// Collective. @param where  ends the group's name in messages.
  /// @param patience_seconds  how long an announcement may take: one that never comes was sent to another rank.
  MessageCheck(const HostGroup& group, std::string where, double patience_seconds)
      : group_(group.duplicate()), where_(std::move(where)), patience_seconds_(patience_seconds) {}
  ~MessageCheck();
  MessageCheck(const MessageCheck&) = delete;
  MessageCheck& operator=(const MessageCheck&) = delete;

  /// Announces the sends and notes the receives; their tickets count up from `first`.
  void start(std::span<const P2p> messages, Ticket first);
  /// Waits for the announcement of that receive. @throws CollectiveMismatch when it is of another type or shape.
  /// @throws CommError when none has come in time, with those that came from other ranks instead.
  void expect(Ticket ticket);

 private:
  /// Number of the message from one rank to the other, type, ndim, dims.
  using Announcement = std::array<std::int64_t, 3 + Shape::kMaxDims>;
  struct Sent {
    Announcement announcement;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  struct Expected {
    Ticket ticket;
    int peer;
    Sent received;  ///< what the peer announces
    Announcement wanted;
  };

  Announcement announcement_of(const Tensor& tensor, std::vector<std::int64_t>& numbers, int peer) const;
  static std::string to_words(const Announcement& announcement);
  std::string unexpected();

  HostGroup group_;
  std::string where_;
  double patience_seconds_;
  std::vector<std::int64_t> numbers_sent_, numbers_received_;  ///< by peer
  std::list<Sent> sent_;                                       ///< a list: MPI holds their addresses
  std::list<Expected> expected_;
};

}  // namespace athanor
