// A span of what is enqueued on a stream while it lives. Law: on a stream that runs at once it is a Span. On one that
// runs late the host's span is the time of enqueuing, and, while somebody watches, two pieces of host work in the
// stream take the times between which it ran there; they hold the stream up by what host work costs (on CUDA some 10 us
// each). Not for work that is captured into a graph.
#pragma once

#include <memory>
#include <string>

#include "src/backend/stream.hpp"
#include "src/base/span.hpp"

namespace athanor {

class StreamSpan {
 public:
  /// As Span. @param stream  must outlive this; null: the host's time alone.
  StreamSpan(Stream* stream, SpanKind kind, std::string_view name, std::string_view of = {},
             std::initializer_list<SpanNumber> numbers = {})
      : span_(kind, name, of, numbers) {
    if (spans::are_watched() && stream != nullptr && !stream->runs_at_once())
      begin_late(*stream, SpanInfo(kind, name, of, numbers));
  }
  ~StreamSpan() {
    if (late_) end_late();
  }
  StreamSpan(const StreamSpan&) = delete;
  StreamSpan& operator=(const StreamSpan&) = delete;

 private:
  /// Lives until the stream has run both its ends; what the names meant to the host may be gone by then.
  struct Late {
    SpanInfo info;
    std::string name, of;
    Clock::time_point began{};
  };
  void begin_late(Stream& stream, const SpanInfo& info);
  void end_late() noexcept;

  Span span_;
  Stream* stream_ = nullptr;
  std::shared_ptr<Late> late_;
};

}  // namespace athanor
