// Named spans of time, for who watches a run: the trace of chosen steps (SpanRecorder), a profiler (NVTX).
// Law: where nobody watches, a span costs one relaxed load and takes no memory. Spans nest on a thread. What a span is
// called and told by must live until it ends: literals, names of layers. Watchers are the one thing here that a process
// has once, as its log: spans stand deep inside code that is handed nothing.
// A span measures the host. Work of a stream that runs late is measured by StreamSpan (src/backend/stream_span.hpp).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "src/base/stopwatch.hpp"

namespace athanor {

/// What time is spent on; a colour in a picture.
enum class SpanKind : std::uint8_t { step, compute, communication, pipeline, data, optimizer, checkpoint, rollout };
std::string_view to_string(SpanKind kind);

struct SpanNumber {
  std::string_view name;  ///< a literal: "bytes"
  std::int64_t value = 0;
};

struct SpanInfo {
  static constexpr std::size_t kMostNumbers = 4;

  SpanKind kind = SpanKind::compute;
  std::string_view name;  ///< what is done: "attention"
  std::string_view of;    ///< of what: "layers.3", "tp"; may be empty
  std::array<SpanNumber, kMostNumbers> numbers{};
  std::size_t num_numbers = 0;

  SpanInfo(SpanKind kind, std::string_view name, std::string_view of, std::initializer_list<SpanNumber> list);
};

/// Who is told of spans, from any thread. Must not throw.
class SpanWatcher {
 public:
  virtual ~SpanWatcher() = default;
  /// On the thread of the span.
  virtual void begin(const SpanInfo& span) noexcept = 0;
  virtual void end(const SpanInfo& span, Clock::time_point began) noexcept = 0;
  /// A span that was measured where a stream ran it. @param row  the stream.
  virtual void ran(const SpanInfo& span, const void* row, Clock::time_point began,
                   Clock::time_point ended) noexcept = 0;
};

namespace spans {

enum class Seat : std::uint8_t { recorder, profiler };
inline std::atomic<int> num_watchers{0};

/// Seats a watcher, or none (null). One that leaves must live until the spans under way have ended.
void set_watcher(Seat seat, SpanWatcher* watcher);
inline bool are_watched() { return num_watchers.load(std::memory_order_relaxed) != 0; }
void tell_begin(const SpanInfo& span) noexcept;
void tell_end(const SpanInfo& span, Clock::time_point began) noexcept;
void tell_ran(const SpanInfo& span, const void* row, Clock::time_point began, Clock::time_point ended) noexcept;

}  // namespace spans

class Span {
 public:
  /// @param numbers  at most SpanInfo::kMostNumbers.
  explicit Span(SpanKind kind, std::string_view name, std::string_view of = {},
                std::initializer_list<SpanNumber> numbers = {}) {
    if (!spans::are_watched()) return;
    info_.emplace(kind, name, of, numbers);
    spans::tell_begin(*info_);
    began_ = Clock::now();
  }
  ~Span() {
    if (info_) spans::tell_end(*info_, began_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  std::optional<SpanInfo> info_;
  Clock::time_point began_;
};

}  // namespace athanor
