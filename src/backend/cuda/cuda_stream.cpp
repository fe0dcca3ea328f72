#include "src/backend/cuda/cuda_stream.hpp"

#include <spdlog/spdlog.h>

#include <utility>

#include "src/backend/cuda/cuda_device.hpp"

namespace athanor::cuda {

// ---- events

CudaEvent::CudaEvent(int device) {
  const DeviceGuard guard(device);
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event");
}

CudaEvent::~CudaEvent() { check_or_log(cudaEventDestroy(event_), "destroy an event"); }

void CudaEvent::synchronize() const { check(cudaEventSynchronize(event_), "wait for an event"); }

// ---- staging

PinnedStaging::~PinnedStaging() {
  if (memory_) check_or_log(cudaFreeHost(memory_), "free page-locked memory");
}

PinnedStaging::Buffer PinnedStaging::next() {
  if (!memory_) {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, uses_.size() * kBufferBytes, cudaHostAllocDefault), "page-locked memory");
    memory_ = static_cast<std::byte*>(memory);
  }
  turn_ = (turn_ + 1) % uses_.size();
  uses_[turn_].synchronize();
  return {memory_ + turn_ * kBufferBytes, uses_[turn_]};
}

// ---- stream

CudaStream::CudaStream(int device) : device_(device), staging_(device) {
  const DeviceGuard guard(device);
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
}

CudaStream::~CudaStream() {
  check_or_log(cudaStreamSynchronize(stream_), "wait for a stream at its end");
  if (failure_) spdlog::warn("cuda: host work of a stream failed and nobody synchronized after it");
  check_or_log(cudaStreamDestroy(stream_), "destroy a stream");
}

void CudaStream::synchronize() {
  check(cudaStreamSynchronize(stream_), "wait for a stream");
  std::exception_ptr failure;
  {
    const std::lock_guard lock(mutex_);
    failure = std::exchange(failure_, nullptr);
  }
  if (failure) std::rethrow_exception(failure);
}

void CudaStream::enqueue_host(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    host_work_.push_back(std::move(work));
  }
  const cudaError_t status = cudaLaunchHostFunc(stream_, run_next_host_work, this);
  if (status != cudaSuccess) {
    const std::lock_guard lock(mutex_);
    host_work_.pop_back();
  }
  check(status, "enqueue host work");
}

void CudaStream::run_next_host_work(void* stream) noexcept {
  auto& self = *static_cast<CudaStream*>(stream);
  std::function<void()> work;
  bool failed = false;
  {
    const std::lock_guard lock(self.mutex_);
    work = std::move(self.host_work_.front());
    self.host_work_.pop_front();
    failed = self.failure_ != nullptr;
  }
  if (failed) return;
  try {
    work();
  } catch (...) {
    const std::lock_guard lock(self.mutex_);
    self.failure_ = std::current_exception();
  }
}

void CudaStream::record(Event& event) {
  check(cudaEventRecord(static_cast<CudaEvent&>(event).handle(), stream_), "record an event");
}

void CudaStream::wait(const Event& event) {
  check(cudaStreamWaitEvent(stream_, static_cast<const CudaEvent&>(event).handle(), 0),
        "order a stream after an event");
}

}  // namespace athanor::cuda
