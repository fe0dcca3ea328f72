#include "src/backend/stream_span.hpp"

namespace athanor {

void StreamSpan::begin_late(Stream& stream, const SpanInfo& info) {
  stream_ = &stream;
  late_ = std::make_shared<Late>(Late{info, std::string(info.name), std::string(info.of)});
  late_->info.name = late_->name;
  late_->info.of = late_->of;
  stream.enqueue_host([late = late_] { late->began = Clock::now(); });
}

void StreamSpan::end_late() noexcept {
  try {
    stream_->enqueue_host([late = std::move(late_), row = static_cast<const void*>(stream_)] {
      spans::tell_ran(late->info, row, late->began, Clock::now());
    });
  } catch (const std::exception&) {
    // A stream that takes no more work says so at its next operation; a span less is no error of its own.
  }
}

}  // namespace athanor
