// Streams: queues of device work. Law: operations are enqueued and run in order within a stream; nothing may be assumed
// done before synchronize(). On "cpu" work runs at once; on "cpu-guarded" it runs late, only inside synchronize(); on
// CUDA it runs beside the host. Work on two streams is ordered by events only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace athanor {

class Event;

class Stream {
 public:
  virtual ~Stream() = default;
  /// Blocks until all work enqueued here is done.
  virtual void synchronize() = 0;
  /// Enqueues host code (a message over MPI, say) that may touch the tensors it captured. Runs in stream order.
  virtual void enqueue_host(std::function<void()> work) = 0;
  /// Marks the present end of this stream.
  virtual void record(Event& event) = 0;
  /// Work enqueued here from now on runs after `event`'s mark. The host does not wait.
  virtual void wait(const Event& event) = 0;
  /// True where enqueued work has run by the time the call returns; callers may then skip building a closure.
  virtual bool runs_at_once() const { return false; }
};

/// A mark in a stream, made by Backend::make_event.
class Event {
 public:
  virtual ~Event() = default;
};

/// Work of a stream that comes again and again, made by Backend::make_graphs; a device may send it off from a
/// recording. Law: for one `shape` the callable enqueues the same operations on the same tensors every time, on that
/// stream alone; what is to differ lies in device memory. It brings no upload, download, message or other host work,
/// waits for nothing, leaves no tensor of its own behind, and may be called more than once, or not at all, for one run.
class Graphs {
 public:
  virtual ~Graphs() = default;
  virtual void run(std::int64_t shape, const std::function<void()>& work) = 0;
  /// Whether runs are replays of a recording: then few shapes are worth some rounding up.
  virtual bool replays() const = 0;
};

/// Runs `work` at once where the stream allows it (no heap allocation), else enqueues it.
template <class Work>
void run_on(Stream& stream, Work&& work) {
  if (stream.runs_at_once())
    work();
  else
    stream.enqueue_host(std::function<void()>(std::forward<Work>(work)));
}

}  // namespace athanor
