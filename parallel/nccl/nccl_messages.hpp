// Messages between two ranks over NCCL, as Communicator promises them: started, they travel beside later work, and what
// one rank sends another meets the receives there in order.
//
// A send of NCCL occupies its stream until the other side receives, and calls on one communicator run one after
// another. Two ranks that each start a send and then a receive would therefore wait for each other for ever. So every
// direction between neighbours has a lane: a communicator of two ranks and a stream of its own, in which only one rank
// sends; a message then waits for nothing but its own receive, which is what MPI gives. Neighbours are rank +- 1, the
// last and the first included: what pipelines use. Messages between other ranks share the communicator of the group and
// one stream, and meet in the order in which both sides start them.
//
// Law: a sent tensor is kept until the device has gone past its send; marks and lists keep their memory.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "parallel/nccl/nccl_session.hpp"

namespace athanor {

class NcclMessages {
 public:
  using P2p = Communicator::P2p;
  using Ticket = Communicator::Ticket;

  /// Collective over the group. @param link  of the whole group; must outlive this.
  NcclMessages(NcclSession& session, const HostGroup& group, NcclLink& link);
  ~NcclMessages();

  Ticket start(std::span<const P2p> messages, Operation operation, Stream& stream);
  /// @throws Error when the ticket is no receive under way.
  void finish_receive(Ticket ticket, Stream& stream);
  void finish_sends(Stream& stream);
  Ticket next_ticket() const { return next_ticket_; }

 private:
  /// One direction between this rank and another, or the common way of all others.
  struct Lane {
    NcclLink* link = nullptr;
    std::unique_ptr<NcclLink> own_link;  ///< null where the lane shares the link of the group
    std::unique_ptr<Stream> stream;
    bool started = false;  ///< by the call under way
  };
  struct UnderWay {
    Ticket ticket;
    P2p::Kind kind;
    Tensor tensor;  ///< keeps the memory
    std::unique_ptr<NcclMark> done;
  };

  void open_lanes(const HostGroup& group);
  Lane& lane_of(const P2p& message);
  void enqueue(Lane& lane, std::span<const P2p> messages, Ticket first, Operation operation);
  void forget_what_has_gone();
  void forget(std::size_t index);
  std::unique_ptr<NcclMark> take_mark();

  NcclSession& session_;
  NcclLink& link_;
  std::map<int, Lane> to_, from_;  ///< by neighbour
  Lane common_;
  std::unique_ptr<NcclMark> ready_;  ///< the stream of the caller at the start
  std::vector<UnderWay> under_way_;
  std::vector<std::unique_ptr<NcclMark>> free_marks_;
  std::int64_t calls_ = 0;
  Ticket next_ticket_ = 0;
};

}  // namespace athanor
