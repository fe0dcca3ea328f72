#include "parallel/mpi/staged_communicator.hpp"

#include <numeric>
#include <utility>

namespace athanor {
namespace {

std::span<std::byte> bytes_of(const Tensor& host) { return {host.unsafe_data(), host.bytes()}; }

}  // namespace

StagedCommunicator::StagedCommunicator(const HostGroup& group, Backend& ops)
    : ops_(ops), host_(make_backend("cpu")), at_once_(host_->make_stream()), mpi_(group) {}

StagedCommunicator::~StagedCommunicator() = default;

// ---- to the host and back

Tensor StagedCommunicator::host_tensor(const Tensor& device) { return host_->empty(device.shape(), device.dtype()); }

Tensor StagedCommunicator::downloaded(const Tensor& device, Stream& stream) {
  Tensor host = host_tensor(device);
  ops_.download(bytes_of(host), device, stream);
  return host;
}

void StagedCommunicator::upload(const Tensor& device, const Tensor& host, Stream& stream) {
  if (host.numel() > 0) ops_.upload(device, bytes_of(host), stream);
}

// ---- collectives

void StagedCommunicator::all_reduce(Tensor inout, ReduceOp op, Stream& stream) {
  const Tensor host = downloaded(inout, stream);
  stream.synchronize();
  mpi_.all_reduce(host, op, *at_once_);
  upload(inout, host, stream);
}

void StagedCommunicator::reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) {
  const Tensor host_in = downloaded(in, stream), host_out = host_tensor(out);
  stream.synchronize();
  mpi_.reduce_scatter(host_out, host_in, op, *at_once_);
  upload(out, host_out, stream);
}

void StagedCommunicator::all_gather(Tensor out, const Tensor& in, Stream& stream) {
  const Tensor host_in = downloaded(in, stream), host_out = host_tensor(out);
  stream.synchronize();
  mpi_.all_gather(host_out, host_in, *at_once_);
  upload(out, host_out, stream);
}

void StagedCommunicator::all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                                      std::span<const std::int64_t> send_rows, Stream& stream) {
  const Tensor host_in = downloaded(in, stream), host_out = host_tensor(out);
  stream.synchronize();
  mpi_.all_to_all_v(host_out, recv_rows, host_in, send_rows, *at_once_);
  // Rows of `out` beyond those received stay as they are.
  const std::int64_t received = std::accumulate(recv_rows.begin(), recv_rows.end(), std::int64_t{0});
  if (received > 0) upload(out.rows(0, received), host_out.rows(0, received), stream);
}

void StagedCommunicator::broadcast(Tensor inout, int root, Stream& stream) {
  const Tensor host = rank() == root ? downloaded(inout, stream) : host_tensor(inout);
  stream.synchronize();
  mpi_.broadcast(host, root, *at_once_);
  if (rank() != root) upload(inout, host, stream);
}

// ---- messages between two ranks

void StagedCommunicator::exchange(std::span<const P2p> messages, Stream& stream) {
  const Ticket first = start_exchange(messages, stream);
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (messages[i].kind == P2p::Kind::recv) finish_receive(first + static_cast<Ticket>(i), stream);
  mpi_.finish_sends(*at_once_);
}

Communicator::Ticket StagedCommunicator::start_exchange(std::span<const P2p> messages, Stream& stream) {
  batch_.clear();
  for (const P2p& message : messages)
    batch_.push_back(
        {message.kind,
         message.kind == P2p::Kind::send ? downloaded(message.tensor, stream) : host_tensor(message.tensor),
         message.peer});
  stream.synchronize();
  const Ticket first = mpi_.start_exchange(batch_, *at_once_);
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (messages[i].kind == P2p::Kind::recv)
      receives_.push_back({first + static_cast<Ticket>(i), messages[i].tensor, batch_[i].tensor});
  batch_.clear();
  return first;
}

void StagedCommunicator::finish_receive(Ticket ticket, Stream& stream) {
  mpi_.finish_receive(ticket, *at_once_);
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    if (receives_[i].ticket != ticket) continue;
    upload(receives_[i].device, receives_[i].host, stream);
    std::swap(receives_[i], receives_.back());
    receives_.pop_back();
    return;
  }
}

void StagedCommunicator::finish_sends(Stream&) { mpi_.finish_sends(*at_once_); }

}  // namespace athanor
