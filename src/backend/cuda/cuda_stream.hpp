// Streams and events of one GPU.
// Laws: one host thread enqueues on a stream. Host work runs on a thread of CUDA's, in stream order, and must not call
// CUDA. An exception in host work crosses no C frame: it is kept, later host work of the stream is skipped, and
// synchronize() throws it. So does synchronize() with a bad index that a kernel noted (id_check.cuh). While the stream
// records (CudaGraphs) nothing may wait, and no host work and no transfer from or to the host may be enqueued.
// Memory: the arena hands blocks out in the order of the back end's first stream; on any other stream an operation's
// tensors are kept alive until its work is done, and its caller orders it after the first stream by an event.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include "src/backend/cuda/id_check.cuh"
#include "src/backend/stream.hpp"
#include "src/backend/tensor.hpp"

namespace athanor::cuda {

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(int device);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  cudaEvent_t handle() const { return event_; }
  /// Whether the mark has been passed, without waiting (true for an event never recorded).
  bool is_over() const;
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
  /// @param first  of its back end: the stream in whose order the arena's memory is used.
  explicit CudaStream(int device, bool first = true);
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
  PinnedStaging& staging();

  /// What is enqueued from here on is recorded instead of run.
  void begin_recording();
  struct Recording {
    cudaGraph_t graph = nullptr;  ///< the caller's to destroy; null where the recording went wrong
    bool checks_ids = false;      ///< some kernel may leave a note
    StorageRef scratch;           ///< that the kernels use
  };
  Recording end_recording() noexcept;
  /// Enqueues what was recorded. @param checks_ids  of the recording.
  void replay(cudaGraphExec_t recorded, bool checks_ids);

  /// Keeps a tensor's memory until the work enqueued so far is done. Needed on streams other than the first.
  void keep(const Tensor& tensor);
  bool is_first() const { return first_; }
  /// Memory for one operation's own use, the same for all of the stream's operations; grows, and waits for the device
  /// when it does.
  std::byte* scratch(Arena& arena, std::size_t bytes);
  /// A check of ids in [lowest, limit) for the kernels of one call. `op` must outlive the stream's work.
  IdCheck id_check(const char* op, std::int64_t lowest, std::int64_t limit);

 private:
  /// @throws Error while the stream records.
  void require_running(const char* call) const;
  static void CUDART_CB run_next_host_work(void* stream) noexcept;
  void throw_noted_id();

  struct Kept {
    Kept(int device, std::vector<Tensor> with) : until(device), tensors(std::move(with)) {}
    CudaEvent until;
    std::vector<Tensor> tensors;
  };

  int device_;
  bool first_;
  cudaStream_t stream_ = nullptr;
  PinnedStaging staging_;
  std::vector<Tensor> kept_now_;  ///< since the last mark
  std::deque<Kept> kept_;
  StorageRef scratch_;
  IdNote* note_ = nullptr;       ///< on the device, and
  IdNote* note_copy_ = nullptr;  ///< its copy on the host
  bool note_asked_ = false;      ///< since the last synchronize()
  bool recording_ = false;
  bool note_asked_before_ = false;  ///< note_asked_ when the recording began
  unsigned long long calls_ = 0;
  std::mutex mutex_;  ///< of the two below, shared with CUDA's thread
  std::deque<std::function<void()>> host_work_;
  std::exception_ptr failure_;
};

}  // namespace athanor::cuda
