#include "parallel/nccl/nccl_messages.hpp"

#include <fmt/format.h>

#include <set>
#include <string>
#include <utility>

#include "src/base/error.hpp"

namespace athanor {

NcclMessages::NcclMessages(NcclSession& session, const HostGroup& group, NcclLink& link)
    : session_(session), link_(link), ready_(session.api().make_mark()) {
  common_.link = &link;
  common_.stream = session.api().make_stream();
  open_lanes(group);
}

NcclMessages::~NcclMessages() {
  for (auto* lanes : {&to_, &from_})
    for (auto& [peer, lane] : *lanes) session_.watch().remove(*lane.own_link);
}

/// The sender of a lane makes its id, and all ids travel in one host message: that of the next rank and that of the one
/// before. All lanes open at the same time.
void NcclMessages::open_lanes(const HostGroup& group) {
  HostGroup own = group.duplicate();
  const int size = own.size(), rank = own.rank();
  const auto at = [&](int distance) { return (rank + distance + size) % size; };
  const std::set<int> neighbours{at(1), at(-1)};  // of two ranks, one

  NcclId to_next{}, to_last{};
  const bool made = session_.api().unique_id(to_next) == NcclStatus::success &&
                    session_.api().unique_id(to_last) == NcclStatus::success;
  if (!own.all_agree(made)) throw CommError("nccl: a rank along " + link_.members().name + " could not make an id");
  const std::vector<std::string> ids = own.all_gather(to_text(to_next) + to_text(to_last));
  const auto id_of = [&](int from, int to) {
    const std::string& both = ids[static_cast<std::size_t>(from)];
    const bool is_next = to == (from + 1) % size;  // of two ranks both are; the first id serves
    return id_from_text(both.substr(is_next ? 0 : both.size() / 2, both.size() / 2));
  };
  const auto open = [&](Lane& lane, int from, int to) {
    const auto& ranks = link_.members().ranks;
    lane.own_link = session_.open({fmt::format("{} {}>{}", link_.members().name, from, to),
                                   {ranks[static_cast<std::size_t>(from)], ranks[static_cast<std::size_t>(to)]},
                                   rank == from ? 0 : 1},
                                  id_of(from, to));
    lane.link = lane.own_link.get();
    lane.stream = session_.api().make_stream();
  };
  for (const int peer : neighbours) {
    open(to_[peer], rank, peer);
    open(from_[peer], peer, rank);
  }
  for (auto* lanes : {&to_, &from_})
    for (auto& [peer, lane] : *lanes) lane.link->await_open(session_.settings().open_seconds);
}

NcclMessages::Lane& NcclMessages::lane_of(const P2p& message) {
  auto& lanes = message.kind == P2p::Kind::send ? to_ : from_;
  const auto found = lanes.find(message.peer);
  return found == lanes.end() ? common_ : found->second;
}

std::unique_ptr<NcclMark> NcclMessages::take_mark() {
  if (free_marks_.empty()) return session_.api().make_mark();
  std::unique_ptr<NcclMark> mark = std::move(free_marks_.back());
  free_marks_.pop_back();
  return mark;
}

NcclMessages::Ticket NcclMessages::start(std::span<const P2p> messages, Operation operation, Stream& stream) {
  session_.watch().require_healthy();
  forget_what_has_gone();
  const Ticket first = next_ticket_;
  next_ticket_ += static_cast<Ticket>(messages.size());
  ++calls_;
  ready_->record(stream);
  for (const P2p& message : messages) lane_of(message).started = false;
  for (const P2p& message : messages) {
    Lane& lane = lane_of(message);
    if (!std::exchange(lane.started, true)) ready_->hold(*lane.stream);
  }
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (Lane& lane = lane_of(messages[i]); &lane != &common_)
      enqueue(lane, messages.subspan(i, 1), first + static_cast<Ticket>(i), operation);
  if (std::exchange(common_.started, false)) enqueue(common_, messages, first, operation);
  return first;
}

/// Those of `messages` that go by this lane, as one call: in a group of NCCL there is no order among them.
void NcclMessages::enqueue(Lane& lane, std::span<const P2p> messages, Ticket first, Operation operation) {
  NcclApi& api = session_.api();
  const auto each = [&](const auto& f) {
    for (std::size_t i = 0; i < messages.size(); ++i)
      if (&lane_of(messages[i]) == &lane) f(messages[i], first + static_cast<Ticket>(i));
  };
  const auto post = [&](const P2p& message, NcclHandle* comm) {
    const auto count = static_cast<std::size_t>(message.tensor.numel());
    if (count == 0) return NcclStatus::success;  // an empty message has arrived
    std::byte* data = message.tensor.unsafe_data();
    const bool sends = message.kind == P2p::Kind::send;
    const int peer = lane.own_link ? (sends ? 1 : 0) : message.peer;  // in a lane the sender is rank 0 of two
    return sends ? api.send(data, count, message.tensor.dtype(), peer, comm, *lane.stream)
                 : api.receive(data, count, message.tensor.dtype(), peer, comm, *lane.stream);
  };
  CollectiveCall call{.operation = operation, .group = link_.members().name, .number = calls_};
  each([&](const P2p& message, Ticket) {
    call.dtype = message.tensor.dtype();
    call.count = message.tensor.numel();
    call.peer = message.peer;
  });
  {
    const NcclWatch::Span span(session_.watch(), *lane.link, call, *lane.stream);
    lane.link->issue(call, session_.settings().call_seconds, [&](NcclHandle* comm) {
      NcclStatus worst = api.group_start();
      each([&](const P2p& message, Ticket) {
        if (worst == NcclStatus::success) worst = post(message, comm);
      });
      const NcclStatus ended = api.group_end();
      return worst == NcclStatus::success ? ended : worst;
    });
  }
  each([&](const P2p& message, Ticket ticket) {
    std::unique_ptr<NcclMark> done = take_mark();
    done->record(*lane.stream);
    under_way_.push_back({ticket, message.kind, message.tensor, std::move(done)});
  });
}

void NcclMessages::forget_what_has_gone() {
  for (std::size_t i = under_way_.size(); i-- > 0;)
    if (under_way_[i].kind == P2p::Kind::send && under_way_[i].done->passed()) forget(i);
}

void NcclMessages::forget(std::size_t index) {
  free_marks_.push_back(std::move(under_way_[index].done));
  if (index + 1 < under_way_.size()) under_way_[index] = std::move(under_way_.back());
  under_way_.pop_back();
}

void NcclMessages::finish_receive(Ticket ticket, Stream& stream) {
  session_.watch().require_healthy();
  for (std::size_t i = 0; i < under_way_.size(); ++i) {
    if (under_way_[i].ticket != ticket || under_way_[i].kind != P2p::Kind::recv) continue;
    under_way_[i].done->hold(stream);
    return forget(i);
  }
  throw Error(fmt::format("finish_receive: message {} is no receive under way; each is finished once", ticket));
}

void NcclMessages::finish_sends(Stream& stream) {
  session_.watch().require_healthy();
  for (std::size_t i = under_way_.size(); i-- > 0;) {
    if (under_way_[i].kind != P2p::Kind::send) continue;
    under_way_[i].done->hold(stream);
    forget(i);
  }
}

}  // namespace athanor
