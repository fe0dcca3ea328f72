// Streams of the CPU. The plain one runs work at once; the guarded one queues it and runs it only at synchronize(),
// with tensor memory opened for just that time.
#pragma once

#include <cstdint>
#include <deque>

#include "src/backend/stream.hpp"

namespace athanor::cpu {

class ImmediateStream final : public Stream {
 public:
  void synchronize() override {}
  void enqueue_host(std::function<void()> work) override { work(); }
  void record(Event&) override {}
  void wait(const Event&) override {}
  bool runs_at_once() const override { return true; }
};

class ImmediateEvent final : public Event {};

/// The work as it is, each time.
class PlainGraphs final : public Graphs {
 public:
  void run(std::int64_t, const std::function<void()>& work) override { work(); }
  bool replays() const override { return false; }
};

class GuardedArena;

/// Runs queued work late, in order. An event waited for first runs the recording stream up to its mark.
class GuardedStream final : public Stream {
 public:
  explicit GuardedStream(GuardedArena& arena) : arena_(arena) {}
  ~GuardedStream() override;
  void synchronize() override;
  void enqueue_host(std::function<void()> work) override;
  void record(Event& event) override;
  void wait(const Event& event) override;

 private:
  /// Runs work up to (excluding) ticket number `ticket`.
  void run_until(std::int64_t ticket);

  GuardedArena& arena_;
  std::deque<std::function<void()>> queue_;
  std::int64_t enqueued_ = 0, done_ = 0;
};

class GuardedEvent final : public Event {
 public:
  GuardedStream* stream = nullptr;
  std::int64_t ticket = 0;
};

}  // namespace athanor::cpu
