#include "src/base/span_recorder.hpp"

namespace athanor {

SpanRecorder::~SpanRecorder() {
  if (recording_) stop();
}

void SpanRecorder::name_stream(const void* stream, std::string name) {
  const std::lock_guard lock(mutex_);
  stream_names_[stream] = std::move(name);
}

void SpanRecorder::start() {
  {
    const std::lock_guard lock(mutex_);
    recording_now_ = {};
    row_of_thread_.clear();
    row_of_stream_.clear();
    row_of_thread_[std::this_thread::get_id()] = new_row("main thread");
  }
  recording_ = true;
  spans::set_watcher(spans::Seat::recorder, this);
}

SpanRecording SpanRecorder::stop() {
  spans::set_watcher(spans::Seat::recorder, nullptr);
  recording_ = false;
  const std::lock_guard lock(mutex_);
  return std::exchange(recording_now_, {});
}

int SpanRecorder::new_row(std::string name) {
  recording_now_.rows.push_back(std::move(name));
  return static_cast<int>(recording_now_.rows.size()) - 1;
}

void SpanRecorder::keep(const SpanInfo& span, int row, Clock::time_point began, Clock::time_point ended) {
  RecordedSpan kept{span.kind, std::string(span.name), std::string(span.of), {}, row, began, ended};
  for (std::size_t i = 0; i < span.num_numbers; ++i)
    kept.numbers.emplace_back(span.numbers[i].name, span.numbers[i].value);
  recording_now_.spans.push_back(std::move(kept));
}

void SpanRecorder::end(const SpanInfo& span, Clock::time_point began) noexcept {
  const auto ended = Clock::now();
  const std::lock_guard lock(mutex_);
  try {
    const auto [row, is_new] = row_of_thread_.try_emplace(std::this_thread::get_id(), 0);
    if (is_new) row->second = new_row("thread " + std::to_string(row_of_thread_.size()));
    keep(span, row->second, began, ended);
  } catch (const std::exception&) {
    ++recording_now_.lost;
  }
}

void SpanRecorder::ran(const SpanInfo& span, const void* stream, Clock::time_point began,
                       Clock::time_point ended) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    const auto [row, is_new] = row_of_stream_.try_emplace(stream, 0);
    if (is_new) {
      const auto name = stream_names_.find(stream);
      row->second =
          new_row(name == stream_names_.end() ? "stream " + std::to_string(row_of_stream_.size()) : name->second);
    }
    keep(span, row->second, began, ended);
  } catch (const std::exception&) {
    ++recording_now_.lost;
  }
}

}  // namespace athanor
