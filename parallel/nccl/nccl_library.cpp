#include "parallel/nccl/nccl_library.hpp"

#include "src/base/error.hpp"

#ifdef ATHANOR_WITH_NCCL

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/backend/cuda/rank_sum_kernels.cuh"

namespace athanor {
namespace {

static_assert(sizeof(ncclUniqueId) == sizeof(NcclId));
static_assert(static_cast<int>(NcclStatus::in_progress) == ncclInProgress);
static_assert(static_cast<int>(NcclStatus::remote_error) == ncclRemoteError);

ncclComm_t comm_of(const NcclHandle* handle) { return reinterpret_cast<ncclComm_t>(const_cast<NcclHandle*>(handle)); }
NcclStatus status_of(ncclResult_t result) { return static_cast<NcclStatus>(result); }
cudaStream_t stream_of(Stream& stream) { return static_cast<cuda::CudaStream&>(stream).handle(); }

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return ncclFloat64;
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::i64:
      return ncclInt64;
    case DType::i32:
      return ncclInt32;
    case DType::u8:
      return ncclUint8;
  }
  return ncclUint8;
}

ncclRedOp_t operation_of(ReduceOp op) {
  if (op == ReduceOp::max) return ncclMax;
  return op == ReduceOp::mean ? ncclAvg : ncclSum;
}

ncclConfig_t settings(const char* name) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.commName = name;
  return config;
}

class CudaMark final : public NcclMark {
 public:
  explicit CudaMark(int device) : event_(device) {}
  void record(Stream& stream) override {
    stream.record(event_);
    recorded_ = true;
  }
  bool passed() const override {
    if (!recorded_) return false;
    const cudaError_t status = cudaEventQuery(event_.handle());
    if (status == cudaErrorNotReady) {
      cudaGetLastError();  // not a failure: it must not stick to the next call
      return false;
    }
    cuda::check(status, "ask a mark of a collective");
    return true;
  }
  void hold(Stream& stream) const override { stream.wait(event_); }

 private:
  cuda::CudaEvent event_;
  std::atomic<bool> recorded_ = false;
};

class LinkedNccl final : public NcclApi {
 public:
  explicit LinkedNccl(int device) : device_(device) {}

  int version() const override {
    int number = 0;
    return ncclGetVersion(&number) == ncclSuccess ? number : 0;
  }
  std::string error_text(NcclStatus status, const NcclHandle* comm) const override {
    std::string text = ncclGetErrorString(static_cast<ncclResult_t>(status));
    if (const char* last = ncclGetLastError(comm_of(comm)); last != nullptr && *last != '\0')
      text += std::string(" (") + last + ")";
    return text;
  }

  NcclStatus unique_id(NcclId& id) override {
    ncclUniqueId made;
    const ncclResult_t result = ncclGetUniqueId(&made);
    if (result == ncclSuccess) std::memcpy(id.data(), made.internal, id.size());
    return status_of(result);
  }
  NcclStatus init(NcclHandle*& comm, int ranks, const NcclId& id, int rank, const char* name) override {
    const cuda::DeviceGuard guard(device_);
    ncclUniqueId made;
    std::memcpy(made.internal, id.data(), id.size());
    ncclConfig_t config = settings(name);
    ncclComm_t opened = nullptr;
    const ncclResult_t result = ncclCommInitRankConfig(&opened, ranks, made, rank, &config);
    comm = reinterpret_cast<NcclHandle*>(opened);
    return status_of(result);
  }
  NcclStatus split(NcclHandle* parent, int color, int key, NcclHandle*& comm, const char* name) override {
    const cuda::DeviceGuard guard(device_);
    ncclConfig_t config = settings(name);
    ncclComm_t opened = nullptr;
    const ncclResult_t result =
        ncclCommSplit(comm_of(parent), color == kNoColor ? NCCL_SPLIT_NOCOLOR : color, key, &opened, &config);
    comm = reinterpret_cast<NcclHandle*>(opened);
    return status_of(result);
  }
  NcclStatus async_error(NcclHandle* comm, NcclStatus& state) override {
    ncclResult_t found = ncclSuccess;
    const ncclResult_t result = ncclCommGetAsyncError(comm_of(comm), &found);
    state = status_of(found);
    return status_of(result);
  }
  NcclStatus finalize(NcclHandle* comm) override { return status_of(ncclCommFinalize(comm_of(comm))); }
  NcclStatus destroy(NcclHandle* comm) override { return status_of(ncclCommDestroy(comm_of(comm))); }
  NcclStatus abort(NcclHandle* comm) override { return status_of(ncclCommAbort(comm_of(comm))); }

  NcclStatus group_start() override { return status_of(ncclGroupStart()); }
  NcclStatus group_end() override {
    const cuda::DeviceGuard guard(device_);
    return status_of(ncclGroupEnd());
  }
  NcclStatus all_reduce(std::byte* inout, std::size_t count, DType dtype, ReduceOp op, NcclHandle* comm,
                        Stream& stream) override {
    const cuda::DeviceGuard guard(device_);
    return status_of(
        ncclAllReduce(inout, inout, count, type_of(dtype), operation_of(op), comm_of(comm), stream_of(stream)));
  }
  NcclStatus reduce_scatter(const std::byte* in, std::byte* out, std::size_t out_count, DType dtype, ReduceOp op,
                            NcclHandle* comm, Stream& stream) override {
    const cuda::DeviceGuard guard(device_);
    return status_of(
        ncclReduceScatter(in, out, out_count, type_of(dtype), operation_of(op), comm_of(comm), stream_of(stream)));
  }
  NcclStatus all_gather(const std::byte* in, std::byte* out, std::size_t in_count, DType dtype, NcclHandle* comm,
                        Stream& stream) override {
    const cuda::DeviceGuard guard(device_);
    return status_of(ncclAllGather(in, out, in_count, type_of(dtype), comm_of(comm), stream_of(stream)));
  }
  NcclStatus broadcast(std::byte* inout, std::size_t count, DType dtype, int root, NcclHandle* comm,
                       Stream& stream) override {
    const cuda::DeviceGuard guard(device_);
    return status_of(ncclBroadcast(inout, inout, count, type_of(dtype), root, comm_of(comm), stream_of(stream)));
  }
  NcclStatus send(const std::byte* in, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                  Stream& stream) override {
    return status_of(ncclSend(in, count, type_of(dtype), peer, comm_of(comm), stream_of(stream)));
  }
  NcclStatus receive(std::byte* out, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                     Stream& stream) override {
    return status_of(ncclRecv(out, count, type_of(dtype), peer, comm_of(comm), stream_of(stream)));
  }

  void sum_in_rank_order(const RankSum& sum, Stream& stream) override {
    const cuda::DeviceGuard guard(device_);
    constexpr cuda::RankReduction kReductions[] = {cuda::RankReduction::sum, cuda::RankReduction::mean,
                                                   cuda::RankReduction::max};
    cuda::check(cuda::launch_rank_sum(sum.out, sum.own, sum.others, sum.stride_bytes, sum.rank, sum.ranks, sum.count,
                                      sum.dtype, kReductions[static_cast<std::size_t>(sum.op)], stream_of(stream)),
                "a sum over ranks");
  }
  std::unique_ptr<NcclMark> make_mark() override { return std::make_unique<CudaMark>(device_); }
  std::unique_ptr<Stream> make_stream() override { return std::make_unique<cuda::CudaStream>(device_); }

 private:
  int device_;
};

}  // namespace

bool has_nccl(std::string*) { return true; }

std::unique_ptr<NcclApi> linked_nccl(int device) {
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
  return std::make_unique<LinkedNccl>(device);
}

std::string gpu_identity(int device) {
  std::array<char, 32> bus{};
  cuda::check(cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device), "the place of a GPU on the bus");
  return bus.data();
}

}  // namespace athanor

#else

#include <cstdlib>

namespace athanor {

bool has_nccl(std::string* reason) {
  if (reason != nullptr) *reason = "this build has no NCCL; build with ATHANOR_CUDA=on where nccl.h and libnccl are";
  return false;
}

std::unique_ptr<NcclApi> linked_nccl(int) {
  std::string reason;
  has_nccl(&reason);
  throw ConfigError("parallel.transport = nccl: " + reason);
}

std::string gpu_identity(int device) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return "cuda:" + std::to_string(device) + (visible ? std::string(" of ") + visible : "");
}

}  // namespace athanor

#endif
