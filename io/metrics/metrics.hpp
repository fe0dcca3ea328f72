// What a run says of itself: metrics.jsonl (and, on request, TensorBoard's files) for machines, a progress line for
// people, a log. Law: rank 0 speaks; others
// only warn, with rank and host. A record is one JSON object in one line; after a restart records past the restored
// step are cut off, so a step stands there once.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/metrics/event_file.hpp"

namespace athanor {

/// Rank 0 logs from info upward, other ranks warnings as `[rank 3 node07] ...`. To standard error.
void set_up_log(int rank, const std::string& host_name);

/// From here on warnings of the log also go to `path`, to which all ranks append; a rank opens it when it has one.
/// Where it cannot be written they stand in the log alone. Once in a process, before threads log.
void keep_warnings(const std::filesystem::path& path, int rank, const std::string& host_name);

class MetricsFile {
 public:
  /// Appends to `path`; lines of a step after `resume_step` are removed first (a torn last line too).
  /// @param event_folder  for TensorBoard; empty: nothing is written for it.   @throws DataError
  MetricsFile(const std::filesystem::path& path, std::int64_t resume_step,
              const std::filesystem::path& event_folder = {});
  /// {"stage": ..., "step": ..., name: value, ..., "unix_seconds": now}; a value that is not finite becomes null.
  /// Flushed. @throws DataError
  void write(std::string_view stage, std::int64_t step, std::span<const Scalar> scalars);
  /// For TensorBoard alone. @throws DataError
  void write_text(std::int64_t step, std::string_view tag, std::string_view text);

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::optional<EventFile> events_;
  std::string line_;  ///< kept, so that writing allocates nothing once it has grown
};

/// Removes from a file of JSON lines those whose "step" is after `last_step` (a torn last line too). None: nothing.
void cut_records(const std::filesystem::path& path, std::int64_t last_step);

/// On a terminal one line that is rewritten; in a batch log plain lines, the important ones. The environment variable
/// ATHANOR_PROGRESS (line or log) decides where it cannot be seen.
class ProgressLine {
 public:
  ProgressLine();
  /// @param important  shown in a batch log whatever the step.
  void show(std::string_view text, bool important);
  /// Ends the line on a terminal, so that other output starts on a new one.
  void finish();
  bool on_terminal() const { return on_terminal_; }

 private:
  bool on_terminal_;
  bool open_ = false;
};

/// A completion as Markdown: what was asked, what was said, and a line of facts.
std::string completion_markdown(std::string_view prompt, std::string_view completion, std::string_view facts);

/// "1:02:03", "4:05".
std::string format_seconds(double seconds);

}  // namespace athanor
