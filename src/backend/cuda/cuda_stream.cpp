#include "src/backend/cuda/cuda_stream.hpp"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/base/error.hpp"

namespace athanor::cuda {

// ---- events

CudaEvent::CudaEvent(int device) {
  const DeviceGuard guard(device);
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event");
}

CudaEvent::~CudaEvent() { check_or_log(cudaEventDestroy(event_), "destroy an event"); }

bool CudaEvent::is_over() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status == cudaErrorNotReady) return false;
  check(status, "ask for an event");
  return true;
}

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

CudaStream::CudaStream(int device, bool first) : device_(device), first_(first), staging_(device) {
  const DeviceGuard guard(device);
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
}

CudaStream::~CudaStream() {
  check_or_log(cudaStreamSynchronize(stream_), "wait for a stream at its end");
  if (failure_) spdlog::warn("cuda: host work of a stream failed and nobody synchronized after it");
  if (note_) check_or_log(cudaFree(note_), "free a stream's note");
  if (note_copy_) check_or_log(cudaFreeHost(note_copy_), "free the copy of a stream's note");
  check_or_log(cudaStreamDestroy(stream_), "destroy a stream");
}

void CudaStream::require_running(const char* call) const {
  if (recording_)
    throw Error(std::string("cuda: ") + call +
                " was called by work that is recorded, which may neither wait nor reach the host");
}

PinnedStaging& CudaStream::staging() {
  require_running("a transfer from or to the host");
  return staging_;
}

void CudaStream::begin_recording() {
  require_running("begin_recording");
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin to record a stream");
  recording_ = true;
  note_asked_before_ = std::exchange(note_asked_, false);
}

CudaStream::Recording CudaStream::end_recording() noexcept {
  Recording recording;
  recording.checks_ids = std::exchange(note_asked_, note_asked_before_);
  recording.scratch = scratch_;
  recording_ = false;
  if (cudaStreamEndCapture(stream_, &recording.graph) == cudaSuccess) return recording;
  cudaGetLastError();  // what went wrong was told where it did
  recording.graph = nullptr;
  return recording;
}

void CudaStream::replay(cudaGraphExec_t recorded, bool checks_ids) {
  require_running("replay");
  check(cudaGraphLaunch(recorded, stream_), "replay a recording");
  note_asked_ = note_asked_ || checks_ids;
}

void CudaStream::synchronize() {
  require_running("synchronize");
  if (note_asked_)
    check(cudaMemcpyAsync(note_copy_, note_, sizeof(IdNote), cudaMemcpyDeviceToHost, stream_), "read a stream's note");
  check(cudaStreamSynchronize(stream_), "wait for a stream");
  kept_now_.clear();
  kept_.clear();
  std::exception_ptr failure;
  {
    const std::lock_guard lock(mutex_);
    failure = std::exchange(failure_, nullptr);
  }
  if (failure) std::rethrow_exception(failure);
  if (std::exchange(note_asked_, false)) throw_noted_id();
}

void CudaStream::throw_noted_id() {
  const IdNote note = *note_copy_;
  if (note.call == 0) return;
  check(cudaMemsetAsync(note_, 0, sizeof(IdNote), stream_), "clear a stream's note");
  const unsigned long long said = ~note.place_and_id;
  const auto id = static_cast<std::int32_t>(static_cast<std::uint32_t>(said));
  throw Error(std::string(note.op) + ": wanted ids in [" + std::to_string(note.lowest) + ", " +
              std::to_string(note.limit) + "), found " + std::to_string(id) + " at place " +
              std::to_string(said >> 32));
}

IdCheck CudaStream::id_check(const char* op, std::int64_t lowest, std::int64_t limit) {
  if (!note_) {
    void *note = nullptr, *copy = nullptr;
    check(cudaMalloc(&note, sizeof(IdNote)), "a stream's note");
    note_ = static_cast<IdNote*>(note);
    check(cudaHostAlloc(&copy, sizeof(IdNote), cudaHostAllocDefault), "the copy of a stream's note");
    note_copy_ = static_cast<IdNote*>(copy);
    check(cudaMemsetAsync(note_, 0, sizeof(IdNote), stream_), "clear a stream's note");
  }
  note_asked_ = true;
  return {note_, ++calls_, op, lowest, limit};
}

void CudaStream::keep(const Tensor& tensor) {
  constexpr std::size_t kTogether = 32;
  kept_now_.push_back(tensor);
  if (kept_now_.size() < kTogether) return;
  kept_.emplace_back(device_, std::exchange(kept_now_, {}));
  record(kept_.back().until);
  while (!kept_.empty() && kept_.front().until.is_over()) kept_.pop_front();
}

std::byte* CudaStream::scratch(Arena& arena, std::size_t bytes) {
  if (!scratch_ || scratch_.block()->capacity_bytes < bytes) {
    check(cudaDeviceSynchronize(), "wait before a stream's scratch memory grows");
    scratch_ = {};
    scratch_ = arena.allocate(bytes);
  }
  return scratch_.data();
}

void CudaStream::enqueue_host(std::function<void()> work) {
  require_running("host work");
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
  require_running("record");
  check(cudaEventRecord(static_cast<CudaEvent&>(event).handle(), stream_), "record an event");
}

void CudaStream::wait(const Event& event) {
  require_running("wait");
  check(cudaStreamWaitEvent(stream_, static_cast<const CudaEvent&>(event).handle(), 0),
        "order a stream after an event");
}

}  // namespace athanor::cuda
