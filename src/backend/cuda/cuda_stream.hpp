// Streams and events of one GPU.
// Laws: one host thread enqueues on a stream. Host work runs on a thread of CUDA's, in stream order, and must not call
// CUDA. An exception in host work crosses no C frame: it is kept, later host work of the stream is skipped, and
// synchronize() throws it.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>

#include "src/backend/stream.hpp"

namespace athanor::cuda {

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(int device);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  cudaEvent_t handle() const { return event_; }
  /// The host waits for the mark (not for an event never recorded).
  void synchronize() const;

 private:
  cudaEvent_t event_ = nullptr;
};

/// Page-locked host memory through which a stream's uploads and downloads go: two buffers, one filled while the other
/// travels. Taken from the system at the first use.
class PinnedStaging {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{4} << 20;

  explicit PinnedStaging(int device) : uses_{CudaEvent(device), CudaEvent(device)} {}
  ~PinnedStaging();
  PinnedStaging(const PinnedStaging&) = delete;
  PinnedStaging& operator=(const PinnedStaging&) = delete;

  struct Buffer {
    std::byte* data;
    CudaEvent& use;  ///< record after the last enqueued work that touches the buffer
  };
  /// The next buffer, once its last use is over.
  Buffer next();

 private:
  std::array<CudaEvent, 2> uses_;
  std::byte* memory_ = nullptr;
  std::size_t turn_ = 0;
};

class CudaStream final : public Stream {
 public:
  explicit CudaStream(int device);
  /// Waits for the work enqueued here; logs what fails.
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void synchronize() override;
  void enqueue_host(std::function<void()> work) override;
  void record(Event& event) override;
  void wait(const Event& event) override;

  cudaStream_t handle() const { return stream_; }
  int device() const { return device_; }
  PinnedStaging& staging() { return staging_; }

 private:
  static void CUDART_CB run_next_host_work(void* stream) noexcept;

  int device_;
  cudaStream_t stream_ = nullptr;
  PinnedStaging staging_;
  std::mutex mutex_;  ///< of the two below, shared with CUDA's thread
  std::deque<std::function<void()>> host_work_;
  std::exception_ptr failure_;
};

}  // namespace athanor::cuda
