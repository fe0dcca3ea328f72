#include "parallel/nccl/nccl_communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "parallel/collective_operands.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

void require_sum_of_integers(const char* operation, ReduceOp op, const Tensor& tensor) {
  if (op == ReduceOp::mean && !is_floating(tensor.dtype()))
    throw Error(fmt::format("{}: integers have no exact mean, take the sum; got {}", operation, tensor.to_string()));
}

constexpr std::size_t kAlignment = 16;  // bytes, of parts and pieces: NCCL moves aligned data 16 at a time

}  // namespace

// ---- calls

NcclCommunicator::NcclCommunicator(NcclSession& session, std::unique_ptr<NcclLink> link, const HostGroup& group,
                                   Backend& ops, std::size_t workspace_bytes, std::size_t small_bytes)
    : session_(session),
      link_(std::move(link)),
      ops_(ops),
      workspace_bytes_(workspace_bytes),
      small_bytes_(small_bytes),
      messages_(session, group, *link_) {}

NcclCommunicator::~NcclCommunicator() { session_.watch().remove(*link_); }

void NcclCommunicator::require_here(const char* operation, const Tensor& tensor) const {
  if (tensor.device() != ops_.device())
    throw Error(fmt::format("{} over NCCL: wanted a tensor on {}, got {}", operation, to_string(ops_.device()),
                            tensor.to_string()));
}

CollectiveCall NcclCommunicator::next_call(Operation operation, const Tensor& tensor) {
  return {.operation = operation,
          .group = link_->members().name,
          .number = ++calls_,
          .dtype = tensor.dtype(),
          .count = tensor.numel()};
}

void NcclCommunicator::issue(const CollectiveCall& call, const std::function<NcclStatus(NcclHandle*)>& calls) {
  link_->issue(call, session_.settings().call_seconds, calls);
}

std::byte* NcclCommunicator::workspace(std::size_t bytes, Stream& stream) {
  if (!workspace_used_) workspace_used_ = session_.api().make_mark();
  if (workspace_.defined()) workspace_used_->hold(stream);
  if (workspace_.defined() && workspace_.bytes() >= bytes) return workspace_.unsafe_data();
  stream.synchronize();  // the old one may be in use; it grows in the first steps only
  workspace_ = ops_.empty({static_cast<std::int64_t>(bytes)}, DType::u8);
  return workspace_.unsafe_data();
}

// ---- reductions

bool NcclCommunicator::in_rank_order(DType dtype, ReduceOp op) const {
  return is_floating(dtype) && (op == ReduceOp::max || session_.settings().sums == RankSums::rank_order);
}

void NcclCommunicator::all_reduce(Tensor inout, ReduceOp op, Stream& stream) {
  require_here("all_reduce", inout);
  const DType dtype = inout.dtype();
  require_sum_of_integers("all_reduce", op, inout);
  if (inout.numel() == 0) return;
  const CollectiveCall call = next_call(Operation::all_reduce, inout);
  const NcclWatch::Span watched(session_.watch(), *link_, call, stream);
  std::byte* data = inout.unsafe_data();
  if (!in_rank_order(dtype, op))
    return issue(call, [&](NcclHandle* comm) {
      return session_.api().all_reduce(data, static_cast<std::size_t>(inout.numel()), dtype, op, comm, stream);
    });

  // Even, aligned parts are reduced by their ranks and gathered; what is left over, and a small tensor, travels whole.
  const std::size_t element = size_bytes(dtype);
  const auto aligned = static_cast<std::int64_t>(kAlignment / element);
  std::int64_t part = inout.numel() / size() / aligned * aligned;
  if (inout.bytes() * static_cast<std::size_t>(size()) <= small_bytes_) part = 0;
  if (part > 0) {
    std::byte* own = data + static_cast<std::size_t>(part * rank()) * element;
    reduce_parts(call, own, data, part, dtype, op, stream);
    issue(call, [&](NcclHandle* comm) {
      return session_.api().all_gather(own, data, static_cast<std::size_t>(part), dtype, comm, stream);
    });
  }
  if (const std::int64_t rest = inout.numel() - part * size(); rest > 0)
    reduce_gathered(call, data + static_cast<std::size_t>(part * size()) * element, rest, dtype, op, stream);
}

void NcclCommunicator::reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) {
  require_here("reduce_scatter", out);
  require_here("reduce_scatter", in);
  require_reduce_scatter(out, in, size());
  require_sum_of_integers("reduce_scatter", op, in);
  if (out.numel() == 0) return;
  const CollectiveCall call = next_call(Operation::reduce_scatter, in);
  const NcclWatch::Span watched(session_.watch(), *link_, call, stream);
  if (in_rank_order(in.dtype(), op))
    return reduce_parts(call, out.unsafe_data(), in.unsafe_data(), out.numel(), in.dtype(), op, stream);
  issue(call, [&](NcclHandle* comm) {
    return session_.api().reduce_scatter(in.unsafe_data(), out.unsafe_data(), static_cast<std::size_t>(out.numel()),
                                         in.dtype(), op, comm, stream);
  });
}

void NcclCommunicator::reduce_parts(const CollectiveCall& call, std::byte* out, const std::byte* in, std::int64_t part,
                                    DType dtype, ReduceOp op, Stream& stream) {
  const std::size_t element = size_bytes(dtype);
  const std::size_t ranks = static_cast<std::size_t>(size());
  const std::size_t part_bytes = (static_cast<std::size_t>(part) * element + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t stride =
      std::min(part_bytes, std::max(workspace_bytes_ / ranks / kAlignment, std::size_t{1}) * kAlignment);
  const auto piece = static_cast<std::int64_t>(stride / element);
  std::byte* received = workspace(stride * ranks, stream);
  NcclApi& api = session_.api();
  const auto at = [&](int peer, std::int64_t offset) {
    return in + static_cast<std::size_t>(part * peer + offset) * element;
  };
  // Elements [offset, offset + piece) of every part at a time.
  for (std::int64_t offset = 0; offset < part; offset += piece) {
    const std::int64_t n = std::min(piece, part - offset);
    const auto count = static_cast<std::size_t>(n);
    issue(call, [&](NcclHandle* comm) {
      NcclStatus worst = api.group_start();
      for (int peer = 0; peer < size(); ++peer) {
        if (peer == rank()) continue;
        if (worst == NcclStatus::success) worst = api.send(at(peer, offset), count, dtype, peer, comm, stream);
        if (worst == NcclStatus::success)
          worst = api.receive(received + static_cast<std::size_t>(peer) * stride, count, dtype, peer, comm, stream);
      }
      const NcclStatus ended = api.group_end();
      return worst == NcclStatus::success ? ended : worst;
    });
    api.sum_in_rank_order({.out = out + static_cast<std::size_t>(offset) * element,
                           .own = at(rank(), offset),
                           .others = received,
                           .stride_bytes = stride,
                           .rank = rank(),
                           .ranks = size(),
                           .count = n,
                           .dtype = dtype,
                           .op = op},
                          stream);
  }
  workspace_used_->record(stream);
}

void NcclCommunicator::reduce_gathered(const CollectiveCall& call, std::byte* inout, std::int64_t count, DType dtype,
                                       ReduceOp op, Stream& stream) {
  const std::size_t bytes = static_cast<std::size_t>(count) * size_bytes(dtype);
  std::byte* all = workspace(bytes * static_cast<std::size_t>(size()), stream);
  issue(call, [&](NcclHandle* comm) {
    return session_.api().all_gather(inout, all, static_cast<std::size_t>(count), dtype, comm, stream);
  });
  session_.api().sum_in_rank_order({.out = inout,
                                    .own = inout,
                                    .others = all,
                                    .stride_bytes = bytes,
                                    .rank = rank(),
                                    .ranks = size(),
                                    .count = count,
                                    .dtype = dtype,
                                    .op = op},
                                   stream);
  workspace_used_->record(stream);
}

// ---- copies

void NcclCommunicator::all_gather(Tensor out, const Tensor& in, Stream& stream) {
  require_here("all_gather", out);
  require_here("all_gather", in);
  require_all_gather(out, in, size());
  if (in.numel() == 0) return;
  const CollectiveCall call = next_call(Operation::all_gather, in);
  const NcclWatch::Span watched(session_.watch(), *link_, call, stream);
  issue(call, [&](NcclHandle* comm) {
    return session_.api().all_gather(in.unsafe_data(), out.unsafe_data(), static_cast<std::size_t>(in.numel()),
                                     in.dtype(), comm, stream);
  });
}

void NcclCommunicator::all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                                    std::span<const std::int64_t> send_rows, Stream& stream) {
  require_here("all_to_all_v", out);
  require_here("all_to_all_v", in);
  require_all_to_all_v(out, recv_rows, in, send_rows, rank(), size());

  const CollectiveCall call = next_call(Operation::all_to_all_v, in);
  const NcclWatch::Span watched(session_.watch(), *link_, call, stream);
  NcclApi& api = session_.api();
  const auto own = static_cast<std::size_t>(rank());
  const auto row = static_cast<std::size_t>(row_elements(in));
  const std::size_t element = size_bytes(in.dtype());
  issue(call, [&](NcclHandle* comm) {
    NcclStatus worst = api.group_start();
    const std::byte* from = in.unsafe_data();
    std::byte* to = out.unsafe_data();
    for (std::size_t peer = 0; peer < recv_rows.size(); ++peer) {
      const std::size_t sent = static_cast<std::size_t>(send_rows[peer]) * row;
      const std::size_t received = static_cast<std::size_t>(recv_rows[peer]) * row;
      if (peer != own && sent > 0 && worst == NcclStatus::success)
        worst = api.send(from, sent, in.dtype(), static_cast<int>(peer), comm, stream);
      if (peer != own && received > 0 && worst == NcclStatus::success)
        worst = api.receive(to, received, in.dtype(), static_cast<int>(peer), comm, stream);
      from += sent * element;
      to += received * element;
    }
    const NcclStatus ended = api.group_end();
    return worst == NcclStatus::success ? ended : worst;
  });
  if (send_rows[own] == 0 || row == 0) return;
  const auto total = [](std::span<const std::int64_t> rows) {
    return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  };
  const std::int64_t sent_before = total(send_rows.first(own)), received_before = total(recv_rows.first(own));
  ops_.copy(out.rows(received_before, received_before + recv_rows[own]),
            in.rows(sent_before, sent_before + send_rows[own]), stream);
}

void NcclCommunicator::broadcast(Tensor inout, int root, Stream& stream) {
  require_here("broadcast", inout);
  if (root < 0 || root >= size()) throw Error(fmt::format("broadcast: root {} is none of {} ranks", root, size()));
  if (inout.numel() == 0) return;
  const CollectiveCall call = next_call(Operation::broadcast, inout);
  const NcclWatch::Span watched(session_.watch(), *link_, call, stream);
  issue(call, [&](NcclHandle* comm) {
    return session_.api().broadcast(inout.unsafe_data(), static_cast<std::size_t>(inout.numel()), inout.dtype(), root,
                                    comm, stream);
  });
}

// ---- messages between two ranks

void NcclCommunicator::require_peers(std::span<const P2p> messages) const {
  for (const P2p& message : messages) {
    require_here("exchange", message.tensor);
    if (message.peer < 0 || message.peer >= size() || message.peer == rank())
      throw Error(fmt::format("exchange: peer {} is no other of {} ranks", message.peer, size()));
  }
}

void NcclCommunicator::exchange(std::span<const P2p> messages, Stream& stream) {
  require_peers(messages);
  const Ticket first = messages_.start(messages, Operation::exchange, stream);
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (messages[i].kind == P2p::Kind::recv) messages_.finish_receive(first + static_cast<Ticket>(i), stream);
  messages_.finish_sends(stream);
}

Communicator::Ticket NcclCommunicator::start_exchange(std::span<const P2p> messages, Stream& stream) {
  require_peers(messages);
  return messages_.start(messages, Operation::start_exchange, stream);
}

void NcclCommunicator::finish_receive(Ticket ticket, Stream& stream) { messages_.finish_receive(ticket, stream); }

void NcclCommunicator::finish_sends(Stream& stream) { messages_.finish_sends(stream); }

}  // namespace athanor
