// The host interface of the emulated CUDA runtime: devices, memory, streams, events, graphs.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/cuda_emulation/counts.hpp"
#include "tests/support/cuda_emulation/memory.hpp"
#include "tests/support/cuda_emulation/streams.hpp"

namespace {

/// One operation of the device at a time, whichever host thread waits for it.
std::recursive_mutex& device_lock() {
  static std::recursive_mutex mutex;
  return mutex;
}

/// Of the last failure; what cudaGetErrorString tells of cudaErrorLaunchFailure.
std::string& last_failure() {
  static std::string text;
  return text;
}

/// Work of a stream: shared by the stream and by the events recorded on it, which may outlive it.
struct Queue {
  std::deque<std::function<void()>> waiting;
  std::int64_t enqueued = 0, done = 0;
  bool failed = false;

  void add(std::function<void()> work) {
    const std::lock_guard lock(device_lock());
    waiting.push_back(std::move(work));
    ++enqueued;
  }
  void run_until(std::int64_t mark) {
    const std::lock_guard lock(device_lock());
    while (done < mark && !waiting.empty()) {
      const auto work = std::move(waiting.front());
      waiting.pop_front();
      ++done;
      try {
        work();
      } catch (const std::exception& problem) {
        failed = true;
        last_failure() = problem.what();
      }
    }
  }
  cudaError_t told() { return std::exchange(failed, false) ? cudaErrorLaunchFailure : cudaSuccess; }
};

struct Mark {
  std::shared_ptr<Queue> queue;
  std::int64_t at = 0;
};

}  // namespace

struct CUgraph_st {
  std::vector<std::function<void()>> work;
  bool broken = false;  ///< something was asked for that cannot be captured
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};
struct CUstream_st {
  std::shared_ptr<Queue> queue = std::make_shared<Queue>();
  std::unique_ptr<CUgraph_st> captured;  ///< while the stream captures
};
struct CUevent_st {
  Mark mark;
};

namespace emulation {
void enqueue(cudaStream_t stream, std::function<void()> work) {
  auto opened = [work = std::move(work)] {
    const DeviceMemory::Open open;
    work();
  };
  if (stream->captured)
    stream->captured->work.push_back(std::move(opened));
  else
    stream->queue->add(std::move(opened));
}
}  // namespace emulation

using emulation::DeviceMemory;

namespace {
std::atomic<std::int64_t> num_allocations = 0, num_waits = 0;

std::vector<cudaStream_t>& streams() {
  static std::vector<cudaStream_t> all;
  return all;
}

/// Whether some stream captures; its capture is broken by whatever asked.
bool breaks_a_capture() {
  bool any = false;
  for (const cudaStream_t stream : streams())
    if (stream->captured) any = stream->captured->broken = true;
  return any;
}
}  // namespace

emulation::Counts emulation::counts() { return {num_allocations, num_waits}; }

// ---- failures and devices

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorNotReady:
      return "not ready";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      return last_failure().c_str();
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unknown error";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {"emulated GPU", std::size_t{1} << 30, 2, 9, 0};
  return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return cudaErrorInvalidValue;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 2;  // few, so that loops over the grid go round
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: {
      const char* text = std::getenv("ATHANOR_EMULATION_CAPABILITY");  // a major version; Hopper's where not given
      *value = text ? std::atoi(text) : 9;
      return cudaSuccess;
    }
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}

// ---- memory

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  const std::lock_guard lock(device_lock());
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  ++num_allocations;
  *data = DeviceMemory::one().allocate(bytes);
  return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* data) {
  const std::lock_guard lock(device_lock());
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  if (data) DeviceMemory::one().free(data);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  ++num_allocations;
  *data = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  emulation::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  emulation::enqueue(stream, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

// ---- streams

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  streams().push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++num_waits;
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  stream->queue->run_until(stream->queue->enqueued);
  return stream->queue->told();
}
cudaError_t cudaDeviceSynchronize() {
  ++num_waits;
  const std::lock_guard lock(device_lock());
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  for (const cudaStream_t stream : streams()) stream->queue->run_until(stream->queue->enqueued);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t status = cudaStreamSynchronize(stream);
  std::erase(streams(), stream);
  delete stream;
  return status;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t work, void* argument) {
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  stream->queue->add([=] {
    const DeviceMemory::Closed closed;
    work(argument);
  });
  return cudaSuccess;
}

// ---- events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  event->mark = {stream->queue, stream->queue->enqueued};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ++num_waits;
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  if (event->mark.queue) event->mark.queue->run_until(event->mark.at);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  const Mark& mark = event->mark;
  return mark.queue && mark.queue->done < mark.at ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  if (event->mark.queue && event->mark.queue != stream->queue)
    stream->queue->add([mark = event->mark] { mark.queue->run_until(mark.at); });
  return cudaSuccess;
}

// ---- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->captured) return cudaErrorStreamCaptureUnsupported;
  stream->captured = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->captured) return cudaErrorInvalidValue;
  const auto captured = std::exchange(stream->captured, nullptr);
  if (captured->broken) return cudaErrorStreamCaptureUnsupported;
  *graph = new CUgraph_st(*captured);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (breaks_a_capture()) return cudaErrorStreamCaptureUnsupported;
  for (const auto& work : executable->work) stream->queue->add(work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
