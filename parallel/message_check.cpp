#include "parallel/message_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "parallel/mpi/mpi_session.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr int kTag = 3;

}  // namespace

MessageCheck::~MessageCheck() {
  for (Sent& sent : sent_)
    if (sent.request != MPI_REQUEST_NULL) MPI_Wait(&sent.request, MPI_STATUS_IGNORE);  // short: they leave at once
  for (Expected& expected : expected_) {
    if (expected.received.request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&expected.received.request);
    MPI_Wait(&expected.received.request, MPI_STATUS_IGNORE);
  }
}

MessageCheck::Announcement MessageCheck::announcement_of(const Tensor& tensor, std::vector<std::int64_t>& numbers,
                                                         int peer) const {
  numbers.resize(static_cast<std::size_t>(group_.size()));
  Announcement announcement{};
  announcement[0] = ++numbers[static_cast<std::size_t>(peer)];
  announcement[1] = static_cast<std::int64_t>(tensor.dtype());
  announcement[2] = tensor.shape().ndim();
  for (int dim = 0; dim < tensor.shape().ndim(); ++dim)
    announcement[3 + static_cast<std::size_t>(dim)] = tensor.dim(dim);
  return announcement;
}

std::string MessageCheck::to_words(const Announcement& announcement) {
  Shape shape;
  for (std::int64_t dim = 0; dim < announcement[2]; ++dim)
    shape.push_back(announcement[3 + static_cast<std::size_t>(dim)]);
  return fmt::format("{}{}", to_string(static_cast<DType>(announcement[1])), shape.to_string());
}

void MessageCheck::start(std::span<const P2p> messages, Ticket first) {
  sent_.remove_if([](Sent& sent) {
    int gone = 0;
    mpi::check(MPI_Test(&sent.request, &gone, MPI_STATUS_IGNORE), "MPI_Test of an announcement");
    return gone != 0;
  });
  constexpr int kWords = std::tuple_size_v<Announcement>;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const P2p& message = messages[i];
    if (message.peer < 0 || message.peer >= group_.size()) continue;  // the transport refuses it
    if (message.kind == P2p::Kind::send) {
      Sent& sent = sent_.emplace_back();
      sent.announcement = announcement_of(message.tensor, numbers_sent_, message.peer);
      mpi::check(
          MPI_Isend(sent.announcement.data(), kWords, MPI_INT64_T, message.peer, kTag, group_.comm(), &sent.request),
          "MPI_Isend of an announcement");
    } else {
      Expected& expected = expected_.emplace_back();
      expected.ticket = first + static_cast<Ticket>(i);
      expected.peer = message.peer;
      expected.wanted = announcement_of(message.tensor, numbers_received_, message.peer);
      mpi::check(MPI_Irecv(expected.received.announcement.data(), kWords, MPI_INT64_T, message.peer, kTag,
                           group_.comm(), &expected.received.request),
                 "MPI_Irecv of an announcement");
    }
  }
}

void MessageCheck::expect(Ticket ticket) {
  const auto found = std::find_if(expected_.begin(), expected_.end(),
                                  [&](const Expected& expected) { return expected.ticket == ticket; });
  if (found == expected_.end()) return;  // the transport says that there is no such receive
  const auto begin = std::chrono::steady_clock::now();
  for (int arrived = 0; arrived == 0;) {
    mpi::check(MPI_Test(&found->received.request, &arrived, MPI_STATUS_IGNORE), "MPI_Test of an announcement");
    if (arrived != 0) break;
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > patience_seconds_)
      throw CommError(
          fmt::format("message {} from rank {} to rank {} {}: rank {} waits for {}, and for {} s rank {} has announced "
                      "none.{} Make "
                      "both call alike",
                      found->wanted[0], found->peer, group_.rank(), where_, group_.rank(), to_words(found->wanted),
                      patience_seconds_, found->peer, unexpected()));
    std::this_thread::yield();
  }
  const Expected expected = *found;
  expected_.erase(found);
  if (expected.received.announcement == expected.wanted) return;
  throw CollectiveMismatch(
      fmt::format("message {} from rank {} to rank {} {} differs between them: rank {} sends {}, rank {} expects {}",
                  expected.wanted[0], expected.peer, group_.rank(), where_, expected.peer,
                  to_words(expected.received.announcement), group_.rank(), to_words(expected.wanted)));
}

std::string MessageCheck::unexpected() {
  std::string text;
  for (int there = 1; there != 0;) {
    MPI_Status status;
    mpi::check(MPI_Iprobe(MPI_ANY_SOURCE, kTag, group_.comm(), &there, &status), "MPI_Iprobe");
    if (there == 0) break;
    Announcement announcement{};
    mpi::check(MPI_Recv(announcement.data(), std::tuple_size_v<Announcement>, MPI_INT64_T, status.MPI_SOURCE, kTag,
                        group_.comm(), MPI_STATUS_IGNORE),
               "MPI_Recv of an announcement");
    text +=
        fmt::format(" Rank {} announces {}, which nobody here receives.", status.MPI_SOURCE, to_words(announcement));
  }
  return text;
}

}  // namespace athanor
