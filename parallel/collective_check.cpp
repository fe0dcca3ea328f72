#include "parallel/collective_check.hpp"

#include <fmt/format.h>

#include <cstring>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {

void CheckedCommunicator::check(const char* operation, const Tensor& tensor, std::int64_t detail, bool whole_shape) {
  // Row counts of an all_to_all_v differ by design; the length of a row does not.
  std::int64_t row = 1;
  for (int d = 1; d < tensor.shape().ndim(); ++d) row *= tensor.dim(d);
  const std::string call = fmt::format("{} of {} {} elements ({})", operation, to_string(tensor.dtype()),
                                       whole_shape ? tensor.numel() : row, detail);
  try {
    group_.check_same(fmt::format("the collective on tensors {}", where_), stable_hash(call));
  } catch (const CollectiveMismatch& error) {
    const auto calls = group_.all_gather(call);
    std::string text = error.what();
    for (std::size_t rank = 0; rank < calls.size(); ++rank) text += fmt::format("\n  rank {}: {}", rank, calls[rank]);
    throw CollectiveMismatch(text);
  }
}

void CheckedCommunicator::all_reduce(Tensor inout, ReduceOp op, Stream& stream) {
  check("all_reduce", inout, static_cast<std::int64_t>(op));
  transport_.all_reduce(inout, op, stream);
}

void CheckedCommunicator::reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) {
  check("reduce_scatter", in, static_cast<std::int64_t>(op));
  transport_.reduce_scatter(out, in, op, stream);
}

void CheckedCommunicator::all_gather(Tensor out, const Tensor& in, Stream& stream) {
  check("all_gather", in, 0);
  transport_.all_gather(out, in, stream);
}

void CheckedCommunicator::all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                                       std::span<const std::int64_t> send_rows, Stream& stream) {
  check("all_to_all_v", in, 0, false);
  // What a rank sends to another is what that one expects.
  const auto bytes = std::as_bytes(send_rows);
  const auto sent_by = group_.all_gather(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  std::string wrong;
  for (std::size_t source = 0; source < sent_by.size() && source < recv_rows.size(); ++source) {
    std::int64_t rows = -1;
    const std::size_t at = static_cast<std::size_t>(rank()) * sizeof rows;
    if (at + sizeof rows <= sent_by[source].size()) std::memcpy(&rows, sent_by[source].data() + at, sizeof rows);
    if (rows != recv_rows[source])
      wrong += fmt::format(" rank {} expects {} rows from rank {}, which sends {};", rank(), recv_rows[source], source,
                           rows);
  }
  std::string all_wrong;
  for (const auto& text : group_.all_gather(wrong)) all_wrong += text;
  if (!all_wrong.empty()) throw CollectiveMismatch(fmt::format("all_to_all_v {}:{}", where_, all_wrong));
  transport_.all_to_all_v(out, recv_rows, in, send_rows, stream);
}

void CheckedCommunicator::broadcast(Tensor inout, int root, Stream& stream) {
  check("broadcast", inout, root);
  transport_.broadcast(inout, root, stream);
}

// ---- messages between two ranks

void CheckedCommunicator::exchange(std::span<const P2p> messages, Stream& stream) {
  // The sends go first: a peer may wait for them before it announces its own.
  const Ticket first = start_exchange(messages, stream);
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (messages[i].kind == P2p::Kind::recv) finish_receive(first + static_cast<Ticket>(i), stream);
  finish_sends(stream);
}

Communicator::Ticket CheckedCommunicator::start_exchange(std::span<const P2p> messages, Stream& stream) {
  const Ticket first = transport_.start_exchange(messages, stream);
  run_on(stream,
         [this, first, all = std::vector<P2p>(messages.begin(), messages.end())] { messages_.start(all, first); });
  return first;
}

void CheckedCommunicator::finish_receive(Ticket ticket, Stream& stream) {
  run_on(stream, [this, ticket] { messages_.expect(ticket); });
  transport_.finish_receive(ticket, stream);
}

}  // namespace athanor
