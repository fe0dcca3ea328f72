#include "parallel/mpi/mpi_communicator.hpp"

#include <algorithm>
#include <cstring>

#include "parallel/collective_operands.hpp"
#include "parallel/mpi/mpi_session.hpp"
#include "parallel/mpi/rank_order_reduce.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr int kTag = 1;         // of collectives
constexpr int kMessageTag = 2;  // of messages between two ranks, which may be under way while a collective runs
constexpr std::size_t kUsualTransfers = 256;  // how many are under way depends on timing; steady states take no memory
constexpr std::size_t kMaxMessageBytes = std::size_t{1} << 30;  // MPI counts are int
constexpr std::size_t kMinPieceBytes = std::size_t{16} << 10;
constexpr std::size_t kMaxPieceBytes = std::size_t{1} << 20;

void require_host(const char* operation, const Tensor& tensor) {
  if (!tensor.device().is_cpu())
    throw Error(std::string(operation) + " over MPI: wanted a tensor in host memory, got " + tensor.to_string());
}

}  // namespace

// ---- messages

void MpiCommunicator::post_send(const std::byte* data, std::size_t bytes, int peer) {
  for (std::size_t at = 0; at < bytes; at += kMaxMessageBytes)
    mpi::check(MPI_Isend(data + at, static_cast<int>(std::min(kMaxMessageBytes, bytes - at)), MPI_BYTE, peer, kTag,
                         group_.comm(), &requests_.emplace_back(MPI_REQUEST_NULL)),
               "MPI_Isend");
}

void MpiCommunicator::post_receive(std::byte* data, std::size_t bytes, int peer) {
  for (std::size_t at = 0; at < bytes; at += kMaxMessageBytes)
    mpi::check(MPI_Irecv(data + at, static_cast<int>(std::min(kMaxMessageBytes, bytes - at)), MPI_BYTE, peer, kTag,
                         group_.comm(), &requests_.emplace_back(MPI_REQUEST_NULL)),
               "MPI_Irecv");
}

void MpiCommunicator::wait_all() {
  const int code = MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  requests_.clear();
  mpi::check(code, "MPI_Waitall of a collective on tensors (did all ranks pass the same sizes?)");
}

std::byte* MpiCommunicator::staging(std::size_t bytes) {
  if (staging_.size() < bytes) staging_.resize(bytes);
  return staging_.data();
}

// ---- reductions

void MpiCommunicator::all_reduce(Tensor inout, ReduceOp op, Stream& stream) {
  require_host("all_reduce", inout);
  if (size() == 1) return;
  run_on(stream, [this, inout, op] { run_all_reduce(inout, op); });
}

void MpiCommunicator::reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) {
  require_host("reduce_scatter", out);
  require_host("reduce_scatter", in);
  require_reduce_scatter(out, in, size());
  run_on(stream, [this, out, in, op] { run_reduce_scatter(out, in, op); });
}

void MpiCommunicator::run_all_reduce(const Tensor& inout, ReduceOp op) {
  const auto ranks = static_cast<std::size_t>(size());
  const std::size_t bytes = inout.bytes();
  if (bytes == 0) return;
  if (bytes * ranks <= kSmallBytes) {
    std::byte* all = staging(bytes * ranks);
    const int count = static_cast<int>(bytes);
    mpi::check(MPI_Allgather(inout.unsafe_data(), count, MPI_BYTE, all, count, MPI_BYTE, group_.comm()),
               "MPI_Allgather of an all_reduce");
    contributions_.clear();
    for (std::size_t peer = 0; peer < ranks; ++peer) contributions_.push_back(all + peer * bytes);
    reduce_in_rank_order(inout.unsafe_data(), contributions_, inout.numel(), inout.dtype(), op);
    return;
  }
  const std::int64_t total = inout.numel();
  const std::int64_t stride = (total + size() - 1) / size();
  const std::size_t element = size_bytes(inout.dtype());
  const auto begin_of = [&](int part) { return std::min(part * stride, total); };
  const auto data_of = [&](int part) {
    return inout.unsafe_data() + static_cast<std::size_t>(begin_of(part)) * element;
  };
  const auto bytes_of = [&](int part) {
    return static_cast<std::size_t>(begin_of(part + 1) - begin_of(part)) * element;
  };
  reduce_parts(data_of(rank()), inout.unsafe_data(), stride, total, inout.dtype(), op);
  for (int step = 1; step < size(); ++step) {
    const int source = (rank() - step + size()) % size();
    post_receive(data_of(source), bytes_of(source), source);
  }
  for (int step = 1; step < size(); ++step) post_send(data_of(rank()), bytes_of(rank()), (rank() + step) % size());
  wait_all();
}

void MpiCommunicator::run_reduce_scatter(const Tensor& out, const Tensor& in, ReduceOp op) {
  if (size() == 1) {
    if (out.unsafe_data() != in.unsafe_data()) std::memmove(out.unsafe_data(), in.unsafe_data(), in.bytes());
    return;
  }
  reduce_parts(out.unsafe_data(), in.unsafe_data(), out.numel(), in.numel(), in.dtype(), op);
}

void MpiCommunicator::reduce_parts(std::byte* out, const std::byte* in, std::int64_t stride, std::int64_t total,
                                   DType dtype, ReduceOp op) {
  const std::size_t element = size_bytes(dtype);
  const auto peers = static_cast<std::size_t>(size() - 1);
  const std::size_t piece_bytes = std::clamp(kStagingBytes / peers, kMinPieceBytes, kMaxPieceBytes);
  const auto piece = static_cast<std::int64_t>(piece_bytes / element);
  std::byte* received = staging(peers * piece_bytes);

  // Elements [offset, offset + piece) of every part at a time; the last parts may be shorter or empty.
  for (std::int64_t offset = 0; offset < stride; offset += piece) {
    const auto begin_of = [&](int part) { return std::min(part * stride + offset, total); };
    const auto end_of = [&](int part) {
      return std::min({part * stride + offset + piece, (part + 1) * stride, total});
    };
    const auto count_of = [&](int part) { return std::max(end_of(part) - begin_of(part), std::int64_t{0}); };
    const std::int64_t mine = count_of(rank());
    const std::byte* own = in + static_cast<std::size_t>(begin_of(rank())) * element;

    contributions_.assign(static_cast<std::size_t>(size()), own);
    for (int step = 1; step < size(); ++step) {
      const int source = (rank() - step + size()) % size();
      std::byte* place = received + static_cast<std::size_t>(step - 1) * piece_bytes;
      post_receive(place, static_cast<std::size_t>(mine) * element, source);
      contributions_[static_cast<std::size_t>(source)] = place;
    }
    for (int step = 1; step < size(); ++step) {
      const int target = (rank() + step) % size();
      post_send(in + static_cast<std::size_t>(begin_of(target)) * element,
                static_cast<std::size_t>(count_of(target)) * element, target);
    }
    wait_all();
    reduce_in_rank_order(out + static_cast<std::size_t>(offset) * element, contributions_, mine, dtype, op);
  }
}

// ---- copies

void MpiCommunicator::all_gather(Tensor out, const Tensor& in, Stream& stream) {
  require_host("all_gather", out);
  require_host("all_gather", in);
  require_all_gather(out, in, size());
  run_on(stream, [this, out, in] { run_all_gather(out, in); });
}

void MpiCommunicator::run_all_gather(const Tensor& out, const Tensor& in) {
  const std::size_t bytes = in.bytes();
  std::byte* own = out.unsafe_data() + static_cast<std::size_t>(rank()) * bytes;
  if (own != in.unsafe_data()) std::memmove(own, in.unsafe_data(), bytes);
  if (size() == 1 || bytes == 0) return;
  if (bytes * static_cast<std::size_t>(size()) <= kSmallBytes) {
    mpi::check(
        MPI_Allgather(MPI_IN_PLACE, 0, MPI_BYTE, out.unsafe_data(), static_cast<int>(bytes), MPI_BYTE, group_.comm()),
        "MPI_Allgather");
    return;
  }
  for (int step = 1; step < size(); ++step) {
    const int source = (rank() - step + size()) % size();
    post_receive(out.unsafe_data() + static_cast<std::size_t>(source) * bytes, bytes, source);
  }
  for (int step = 1; step < size(); ++step) post_send(own, bytes, (rank() + step) % size());
  wait_all();
}

void MpiCommunicator::all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                                   std::span<const std::int64_t> send_rows, Stream& stream) {
  require_host("all_to_all_v", out);
  require_host("all_to_all_v", in);
  require_all_to_all_v(out, recv_rows, in, send_rows, rank(), size());
  if (stream.runs_at_once())
    run_all_to_all_v(out, recv_rows, in, send_rows);
  else
    stream.enqueue_host([this, out, in, recv = std::vector<std::int64_t>(recv_rows.begin(), recv_rows.end()),
                         send = std::vector<std::int64_t>(send_rows.begin(), send_rows.end())] {
      run_all_to_all_v(out, recv, in, send);
    });
}

void MpiCommunicator::run_all_to_all_v(const Tensor& out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                                       std::span<const std::int64_t> send_rows) {
  const auto row_bytes = static_cast<std::size_t>(row_elements(in)) * size_bytes(in.dtype());
  const std::byte* from = in.unsafe_data();
  std::byte* to = out.unsafe_data();
  const std::byte* own_from = nullptr;
  std::byte* own_to = nullptr;
  for (int peer = 0; peer < size(); ++peer) {
    const std::size_t bytes = static_cast<std::size_t>(recv_rows[static_cast<std::size_t>(peer)]) * row_bytes;
    if (peer == rank())
      own_to = to;
    else
      post_receive(to, bytes, peer);
    to += bytes;
  }
  for (int peer = 0; peer < size(); ++peer) {
    const std::size_t bytes = static_cast<std::size_t>(send_rows[static_cast<std::size_t>(peer)]) * row_bytes;
    if (peer == rank())
      own_from = from;
    else
      post_send(from, bytes, peer);
    from += bytes;
  }
  const std::size_t own_bytes = static_cast<std::size_t>(send_rows[static_cast<std::size_t>(rank())]) * row_bytes;
  if (own_bytes > 0) std::memmove(own_to, own_from, own_bytes);
  wait_all();
}

void MpiCommunicator::broadcast(Tensor inout, int root, Stream& stream) {
  require_host("broadcast", inout);
  if (root < 0 || root >= size())
    throw Error("broadcast: root " + std::to_string(root) + " is none of " + std::to_string(size()) + " ranks");
  if (size() == 1) return;
  run_on(stream, [this, inout, root] {
    const std::size_t bytes = inout.bytes();
    for (std::size_t at = 0; at < bytes; at += kMaxMessageBytes)
      mpi::check(MPI_Bcast(inout.unsafe_data() + at, static_cast<int>(std::min(kMaxMessageBytes, bytes - at)), MPI_BYTE,
                           root, group_.comm()),
                 "MPI_Bcast");
  });
}

// ---- messages between two ranks

void MpiCommunicator::require_peers(std::span<const P2p> messages) const {
  for (const P2p& message : messages) {
    require_host("exchange", message.tensor);
    if (message.peer < 0 || message.peer >= size())
      throw Error("exchange: peer " + std::to_string(message.peer) + " is none of " + std::to_string(size()) +
                  " ranks");
  }
}

void MpiCommunicator::exchange(std::span<const P2p> messages, Stream& stream) {
  const Ticket first = start_exchange(messages, stream);
  run_on(stream, [this, first, last = next_ticket_] {
    run_wait(P2p::Kind::recv, first, last);
    run_wait(P2p::Kind::send, first, last);
  });
}

Communicator::Ticket MpiCommunicator::start_exchange(std::span<const P2p> messages, Stream& stream) {
  require_peers(messages);
  const Ticket first = next_ticket_;
  next_ticket_ += static_cast<Ticket>(messages.size());
  if (stream.runs_at_once())
    run_start_exchange(messages, first);
  else
    stream.enqueue_host(
        [this, first, all = std::vector<P2p>(messages.begin(), messages.end())] { run_start_exchange(all, first); });
  return first;
}

void MpiCommunicator::run_start_exchange(std::span<const P2p> messages, Ticket first) {
  if (transfers_.capacity() == 0) transfers_.reserve(kUsualTransfers);
  // What has gone meanwhile gives its memory back.
  for (std::size_t i = transfers_.size(); i-- > 0;) {
    if (transfers_[i].kind != P2p::Kind::send) continue;
    int gone = 0;
    mpi::check(MPI_Test(&transfers_[i].request, &gone, MPI_STATUS_IGNORE), "MPI_Test of a send");
    if (gone != 0) forget(i);
  }
  for (const P2p::Kind kind : {P2p::Kind::recv, P2p::Kind::send})
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const P2p& message = messages[i];
      if (message.kind != kind) continue;
      std::size_t at = 0;
      do {  // an empty tensor is a message too: its ticket is finished as any other
        const int count = static_cast<int>(std::min(kMaxMessageBytes, message.tensor.bytes() - at));
        std::byte* data = message.tensor.unsafe_data() + at;
        MPI_Request request = MPI_REQUEST_NULL;
        if (kind == P2p::Kind::recv)
          mpi::check(MPI_Irecv(data, count, MPI_BYTE, message.peer, kMessageTag, group_.comm(), &request), "MPI_Irecv");
        else
          mpi::check(MPI_Isend(data, count, MPI_BYTE, message.peer, kMessageTag, group_.comm(), &request), "MPI_Isend");
        transfers_.push_back({first + static_cast<Ticket>(i), kind, message.tensor, request});
        at += kMaxMessageBytes;
      } while (at < message.tensor.bytes());
    }
}

void MpiCommunicator::finish_receive(Ticket ticket, Stream& stream) {
  run_on(stream, [this, ticket] {
    if (!run_wait(P2p::Kind::recv, ticket, ticket + 1))
      throw Error("finish_receive: message " + std::to_string(ticket) +
                  " is no receive under way; each is finished once");
  });
}

void MpiCommunicator::finish_sends(Stream& stream) {
  run_on(stream, [this, last = next_ticket_] { run_wait(P2p::Kind::send, 0, last); });
}

bool MpiCommunicator::run_wait(P2p::Kind kind, Ticket first, Ticket last) {
  bool found = false;
  for (std::size_t i = transfers_.size(); i-- > 0;) {
    Transfer& transfer = transfers_[i];
    if (transfer.kind != kind || transfer.ticket < first || transfer.ticket >= last) continue;
    found = true;
    const int code = MPI_Wait(&transfer.request, MPI_STATUS_IGNORE);
    forget(i);
    mpi::check(code, "MPI_Wait for a message between two ranks (do both know its size?)");
  }
  return found;
}

void MpiCommunicator::forget(std::size_t index) {
  if (index + 1 < transfers_.size()) transfers_[index] = std::move(transfers_.back());
  transfers_.pop_back();
}

MpiCommunicator::~MpiCommunicator() {
  for (Transfer& transfer : transfers_) {
    if (transfer.request == MPI_REQUEST_NULL) continue;
    if (transfer.kind == P2p::Kind::recv) MPI_Cancel(&transfer.request);
    MPI_Request_free(&transfer.request);
  }
}

}  // namespace athanor
