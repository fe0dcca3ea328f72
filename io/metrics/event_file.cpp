#include "io/metrics/event_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>

#include "src/base/error.hpp"

namespace athanor {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

// ---- protocol buffers: a field is its number and wire type, then its value

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, unsigned field, Wire wire) { put_varint(out, field << 3 | static_cast<unsigned>(wire)); }

void put_number(std::string& out, unsigned field, std::int64_t value) {
  put_key(out, field, Wire::varint);
  put_varint(out, static_cast<std::uint64_t>(value));
}

/// A string, or a message that is encoded already.
void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_key(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

template <class T>
void put_raw(std::string& out, T value) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  out.append(bytes.data(), bytes.size());
}

// Event: wall_time 1, step 2, file_version 3, summary 5, session_log 7. Summary: value 1. Summary.Value: tag 1,
// simple_value 2, tensor 8, metadata 9.
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr unsigned kSummaryValue = 1, kTag = 1, kSimpleValue = 2, kTensor = 8, kMetadata = 9;

std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
    table[byte] = crc;
  }
  return table;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static const auto kTable = crc_table();
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xffU];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8U; }

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t resume_step) {
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) throw DataError("events: " + folder.string() + " cannot be made: " + failure.message());
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::array<char, HOST_NAME_MAX + 1> host{};
  ::gethostname(host.data(), HOST_NAME_MAX);
  // Files are read in the order of their names; two of one second and process differ by the number.
  for (int number = 0; !file_; ++number) {
    path_ = folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", seconds, host.data(), ::getpid(), number);
    file_.reset(std::fopen(path_.c_str(), "wbx"));
    if (!file_ && errno != EEXIST)
      throw DataError("events: " + path_.string() + " cannot be made: " + std::strerror(errno));
  }
  part_.clear();
  put_bytes(part_, kFileVersion, "brain.Event:2");
  write_event(0, part_);
  if (resume_step == 0) return;
  part_.clear();
  constexpr unsigned kStatus = 1;
  constexpr std::int64_t kStart = 1;
  put_number(part_, kStatus, kStart);
  value_.clear();
  put_bytes(value_, kSessionLog, part_);
  write_event(resume_step + 1, value_);
}

void EventFile::write(std::int64_t step, std::span<const Scalar> scalars) {
  summary_.clear();
  for (const Scalar& scalar : scalars) {
    value_.clear();
    put_bytes(value_, kTag, scalar.name);
    put_key(value_, kSimpleValue, Wire::fixed32);
    put_raw(value_, static_cast<float>(scalar.value));
    put_bytes(summary_, kSummaryValue, value_);
  }
  part_.clear();
  put_bytes(part_, kSummary, summary_);
  write_event(step, part_);
}

void EventFile::write_text(std::int64_t step, std::string_view tag, std::string_view text) {
  value_.clear();
  put_bytes(value_, kTag, tag);
  // A tensor of one string: dtype 1, tensor_shape 2 (dim 2: size 1), string_val 8.
  constexpr std::int64_t kString = 7;
  part_.clear();
  put_number(part_, 1, kString);
  put_bytes(part_, 2, std::string_view("\x12\x02\x08\x01", 4));
  put_bytes(part_, 8, text);
  put_bytes(value_, kTensor, part_);
  // SummaryMetadata: plugin_data 1 (plugin_name 1).
  constexpr std::string_view kPlugin("\x0a\x04text", 6);
  part_.clear();
  put_bytes(part_, 1, kPlugin);
  put_bytes(value_, kMetadata, part_);
  summary_.clear();
  put_bytes(summary_, kSummaryValue, value_);
  part_.clear();
  put_bytes(part_, kSummary, summary_);
  write_event(step, part_);
}

void EventFile::write_event(std::int64_t step, std::string_view fields) {
  event_.clear();
  put_key(event_, kWallTime, Wire::fixed64);
  put_raw(event_, std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  put_number(event_, kStep, step);
  event_ += fields;
  frame_.clear();
  put_raw(frame_, static_cast<std::uint64_t>(event_.size()));
  put_raw(frame_, masked_crc32c(frame_));
  frame_ += event_;
  put_raw(frame_, masked_crc32c(event_));
  if (std::fwrite(frame_.data(), 1, frame_.size(), file_.get()) != frame_.size() || std::fflush(file_.get()) != 0)
    throw DataError("events: writing " + path_.string() + " failed: " + std::strerror(errno));
}

}  // namespace athanor
