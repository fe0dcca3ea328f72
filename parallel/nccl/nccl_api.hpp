// What NcclCommunicator needs of NCCL and of the queues of the device it runs on, as one table of calls. The program
// fills it from the linked library (nccl_library.cpp); tests give one that moves bytes by MPI, so that everything but
// that file is compiled and run where there is neither toolkit nor GPU. No header of NCCL or CUDA is seen here.
//
// Law: calls do not throw for a failure of NCCL, they return its status; in_progress means "ask async_error until it
// says otherwise" (communicators are non-blocking). Pointers are to memory of the device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "src/backend/communicator.hpp"

namespace athanor {

/// Results of NCCL, numbered as in nccl.h.
enum class NcclStatus : int {
  success = 0,
  unhandled_cuda_error = 1,
  system_error = 2,
  internal_error = 3,
  invalid_argument = 4,
  invalid_usage = 5,
  remote_error = 6,
  in_progress = 7
};

/// What the first rank of a new communicator makes and all its ranks are given.
using NcclId = std::array<std::byte, 128>;

/// A communicator of NCCL, seen by the table only.
struct NcclHandle;

/// A mark in a stream. passed() may be asked from another thread than the one that records.
class NcclMark {
 public:
  virtual ~NcclMark() = default;
  /// Moves the mark to the present end of the stream.
  virtual void record(Stream& stream) = 0;
  /// Whether the device has gone past it; false where never recorded.
  virtual bool passed() const = 0;
  /// Work on `stream` from here on runs after the mark.
  virtual void hold(Stream& stream) const = 0;
};

/// A reduction over ranks whose contributions are all here.
struct RankSum {
  std::byte* out = nullptr;           ///< may be `own`
  const std::byte* own = nullptr;     ///< contribution of rank `rank`
  const std::byte* others = nullptr;  ///< contribution of any other rank r at others + r * stride_bytes
  std::size_t stride_bytes = 0;
  int rank = 0, ranks = 1;
  std::int64_t count = 0;
  DType dtype = DType::f32;
  ReduceOp op = ReduceOp::sum;
};

class NcclApi {
 public:
  /// ncclCommSplit's colour for a rank that wants no communicator.
  static constexpr int kNoColor = -1;

  virtual ~NcclApi() = default;

  // ---- the library
  /// As NCCL numbers it: 22809 for 2.28.9.
  virtual int version() const = 0;
  /// What NCCL says of a status, and of the last error of `comm` (null: of none).
  virtual std::string error_text(NcclStatus status, const NcclHandle* comm) const = 0;

  // ---- the life of a communicator; `name` appears in NCCL's own log
  virtual NcclStatus unique_id(NcclId& id) = 0;
  virtual NcclStatus init(NcclHandle*& comm, int ranks, const NcclId& id, int rank, const char* name) = 0;
  /// `comm` stays null for kNoColor.
  virtual NcclStatus split(NcclHandle* parent, int color, int key, NcclHandle*& comm, const char* name) = 0;
  /// Any thread. `state` is in_progress, success, or why the communicator has failed.
  virtual NcclStatus async_error(NcclHandle* comm, NcclStatus& state) = 0;
  virtual NcclStatus finalize(NcclHandle* comm) = 0;
  virtual NcclStatus destroy(NcclHandle* comm) = 0;
  /// Any thread. Ends what is under way; the handle is dead afterwards.
  virtual NcclStatus abort(NcclHandle* comm) = 0;

  // ---- collectives: enqueued on the stream; counts are elements
  virtual NcclStatus group_start() = 0;
  virtual NcclStatus group_end() = 0;
  virtual NcclStatus all_reduce(std::byte* inout, std::size_t count, DType dtype, ReduceOp op, NcclHandle* comm,
                                Stream& stream) = 0;
  virtual NcclStatus reduce_scatter(const std::byte* in, std::byte* out, std::size_t out_count, DType dtype,
                                    ReduceOp op, NcclHandle* comm, Stream& stream) = 0;
  virtual NcclStatus all_gather(const std::byte* in, std::byte* out, std::size_t in_count, DType dtype,
                                NcclHandle* comm, Stream& stream) = 0;
  virtual NcclStatus broadcast(std::byte* inout, std::size_t count, DType dtype, int root, NcclHandle* comm,
                               Stream& stream) = 0;
  virtual NcclStatus send(const std::byte* in, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                          Stream& stream) = 0;
  virtual NcclStatus receive(std::byte* out, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                             Stream& stream) = 0;

  // ---- the device
  /// out[i] = contribution 0 op contribution 1 op ... in this order: f64 in f64, bf16 and f32 accumulated in f32 and
  /// rounded once. Bit for bit reduce_in_rank_order of parallel/mpi. @throws Error when it cannot be enqueued.
  virtual void sum_in_rank_order(const RankSum& sum, Stream& stream) = 0;
  virtual std::unique_ptr<NcclMark> make_mark() = 0;
  /// A queue for messages that travel beside the caller's stream.
  virtual std::unique_ptr<Stream> make_stream() = 0;
};

}  // namespace athanor
