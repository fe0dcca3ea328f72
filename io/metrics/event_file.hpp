// TensorBoard event files: the numbers of metrics.jsonl and completions to read, for `tensorboard --logdir
// RUN/tensorboard`. Law: one process appends to a file of its own; a restart begins a new one, whose first record makes
// readers drop what older files hold past the restored step.
// Format (public): TFRecord framing, i.e. length as u64, masked CRC-32C of it, bytes, masked CRC-32C of them, all
// little-endian (tensorflow/core/lib/io/record_writer.h); the bytes are protocol buffers of type Event
// (tensorflow/core/util/event.proto, framework/summary.proto, framework/tensor.proto), encoded here by hand.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace athanor {

struct Scalar {
  std::string_view name;  ///< with its unit where it has one: "tokens_per_second"
  double value;
};

class EventFile {
 public:
  /// Makes folder/events.out.tfevents.SECONDS.HOST.PROCESS.NUMBER, a name that no other has.
  /// @param resume_step  what older files hold past it does not count.   @throws DataError
  EventFile(const std::filesystem::path& folder, std::int64_t resume_step);

  /// One record with all of them, as f32: what TensorBoard shows. Flushed. @throws DataError
  void write(std::int64_t step, std::span<const Scalar> scalars);
  /// Markdown, among the texts of `tag`. Flushed. @throws DataError
  void write_text(std::int64_t step, std::string_view tag, std::string_view text);

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  /// The record begun in event_. @param fields  behind wall time and step.
  void write_event(std::int64_t step, std::string_view fields);

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::string event_, summary_, value_, part_, frame_;  ///< kept: once they have grown nothing is allocated
};

/// CRC-32C (Castagnoli), and as TFRecord writes it.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace athanor
