// Communicator over NCCL for tensors of the device.
//
// Law of sums: floating numbers are summed in rank order, as Communicator promises and MpiCommunicator does, to the
// same bits: the parts travel by grouped sends and receives (the bytes of a ring: (ranks - 1) / ranks of the tensor)
// and a kernel adds them up, bf16 in f32 with one rounding. NCCL's own reductions give other bits: a ring adds each
// part in another order, beginning behind its owner, a tree and NVLS in others again, and bf16 is rounded at every hop.
// They repeat bit for bit only on the same layout with the same algorithm and protocol (NCCL_ALGO and NCCL_PROTO set;
// what NCCL chooses by itself depends on sizes, links and version). RankSums::nccl uses them for sums and means; maxima
// stay here, so that a NaN of any rank remains. Integers are exact in any order and always reduced by NCCL.
//
// Workspace is at most kWorkspaceBytes (a small tensor times ranks where that is more) and kept; calls on two streams
// take turns at it. A steady state allocates nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "parallel/nccl/nccl_messages.hpp"
#include "parallel/nccl/nccl_session.hpp"
#include "src/backend/backend.hpp"

namespace athanor {

class NcclCommunicator final : public Communicator {
 public:
  static constexpr std::size_t kWorkspaceBytes = std::size_t{64} << 20;
  /// Where the gathered contributions are at most this many bytes, they travel in one round.
  static constexpr std::size_t kSmallBytes = std::size_t{1} << 20;

  /// Collective over `group`. @param link  of its ranks, from session.split.   All must outlive this.
  /// @param workspace_bytes  for tests: several pieces of small tensors.
  NcclCommunicator(NcclSession& session, std::unique_ptr<NcclLink> link, const HostGroup& group, Backend& ops,
                   std::size_t workspace_bytes = kWorkspaceBytes, std::size_t small_bytes = kSmallBytes);
  ~NcclCommunicator() override;

  int rank() const override { return link_->members().own; }
  int size() const override { return static_cast<int>(link_->members().ranks.size()); }
  void all_reduce(Tensor inout, ReduceOp op, Stream& stream) override;
  void reduce_scatter(Tensor out, const Tensor& in, ReduceOp op, Stream& stream) override;
  void all_gather(Tensor out, const Tensor& in, Stream& stream) override;
  void all_to_all_v(Tensor out, std::span<const std::int64_t> recv_rows, const Tensor& in,
                    std::span<const std::int64_t> send_rows, Stream& stream) override;
  void broadcast(Tensor inout, int root, Stream& stream) override;
  void exchange(std::span<const P2p> messages, Stream& stream) override;
  Ticket start_exchange(std::span<const P2p> messages, Stream& stream) override;
  void finish_receive(Ticket ticket, Stream& stream) override;
  void finish_sends(Stream& stream) override;

 private:
  /// A call under way: its range in a profiler, and its span on the device.

  void require_here(const char* operation, const Tensor& tensor) const;
  void require_peers(std::span<const P2p> messages) const;
  bool in_rank_order(DType dtype, ReduceOp op) const;
  CollectiveCall next_call(Operation operation, const Tensor& tensor);
  void issue(const CollectiveCall& call, const std::function<NcclStatus(NcclHandle*)>& calls);
  /// out = reduction of part rank() of the ranks' `in`, whose parts are `part` elements long. out may be that part.
  void reduce_parts(const CollectiveCall& call, std::byte* out, const std::byte* in, std::int64_t part, DType dtype,
                    ReduceOp op, Stream& stream);
  /// All of a small tensor from everyone, summed everywhere.
  void reduce_gathered(const CollectiveCall& call, std::byte* inout, std::int64_t count, DType dtype, ReduceOp op,
                       Stream& stream);
  /// At least `bytes` of the device, when what used them last has gone past.
  std::byte* workspace(std::size_t bytes, Stream& stream);

  NcclSession& session_;
  std::unique_ptr<NcclLink> link_;
  Backend& ops_;
  std::size_t workspace_bytes_, small_bytes_;
  NcclMessages messages_;
  Tensor workspace_;
  std::unique_ptr<NcclMark> workspace_used_;
  std::int64_t calls_ = 0;
};

}  // namespace athanor
