// Keeps the spans of a while in memory. Law: safe from any thread; a span counts where it ended while recording. Where
// memory runs out spans are lost and counted, the run goes on.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/span.hpp"

namespace athanor {

struct RecordedSpan {
  SpanKind kind;
  std::string name, of;
  std::vector<std::pair<std::string_view, std::int64_t>> numbers;
  int row = 0;  ///< of SpanRecording::rows
  Clock::time_point began, ended;
};

struct SpanRecording {
  std::vector<std::string> rows;  ///< threads and streams by name
  std::vector<RecordedSpan> spans;
  std::int64_t lost = 0;
};

class SpanRecorder final : public SpanWatcher {
 public:
  SpanRecorder() = default;
  /// Stops. Must come after the end of every span under way.
  ~SpanRecorder() override;
  SpanRecorder(const SpanRecorder&) = delete;
  SpanRecorder& operator=(const SpanRecorder&) = delete;

  /// What the row of a stream is called; those not named are "stream N".
  void name_stream(const void* stream, std::string name);
  /// From here on. The thread that calls is the row "main thread".
  void start();
  bool is_recording() const { return recording_; }
  /// @returns all since start().
  SpanRecording stop();

  void begin(const SpanInfo&) noexcept override {}
  void end(const SpanInfo& span, Clock::time_point began) noexcept override;
  void ran(const SpanInfo& span, const void* row, Clock::time_point began, Clock::time_point ended) noexcept override;

 private:
  void keep(const SpanInfo& span, int row, Clock::time_point began, Clock::time_point ended);
  int new_row(std::string name);

  bool recording_ = false;
  std::mutex mutex_;  ///< of all below
  SpanRecording recording_now_;
  std::map<std::thread::id, int> row_of_thread_;
  std::map<const void*, int> row_of_stream_;
  std::map<const void*, std::string> stream_names_;
};

}  // namespace athanor
