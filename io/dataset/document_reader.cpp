#include "io/dataset/document_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/dataset/text_files.hpp"
#include "src/base/error.hpp"
#include "src/text/utf8.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kLongestDocument = std::size_t{1} << 30;
constexpr std::int64_t kToTheEnd = std::numeric_limits<std::int64_t>::max();

std::string separator_of(const TextSource& source, const TextFormat& format) {
  return source.is_jsonl ? "\n" : format.separator;
}

/// True when two occurrences can share bytes, so that where one begins depends on what came before.
bool overlaps_itself(std::string_view separator) {
  for (std::size_t shift = 1; shift < separator.size(); ++shift)
    if (separator.starts_with(separator.substr(shift))) return true;
  return false;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos; }

}  // namespace

TextSource find_text_source(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    throw ConfigError(fmt::format("{}: {}", path, fs::exists(path, error) ? "is no file" : "no such file"));
  fs::path name(path);
  if (name.extension() == ".gz") name = name.stem();
  if (name.extension() != ".txt" && name.extension() != ".jsonl")
    throw ConfigError(fmt::format("{}: wanted a text file named .txt, .jsonl, .txt.gz or .jsonl.gz", path));
  const auto changed = fs::last_write_time(path).time_since_epoch();
  return {path, static_cast<std::int64_t>(fs::file_size(path)),
          std::chrono::duration_cast<std::chrono::nanoseconds>(changed).count(), name.extension() == ".jsonl",
          ByteStream::is_gzip(path)};
}

std::vector<ByteRange> cut_into_ranges(const std::vector<TextSource>& sources, const TextFormat& format,
                                       std::int64_t range_bytes) {
  std::vector<ByteRange> ranges;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const TextSource& source = sources[s];
    const std::string separator = separator_of(source, format);
    if (source.is_gzip || separator.empty() || overlaps_itself(separator)) {
      ranges.push_back({s, 0, kToTheEnd, source.file_bytes});
      continue;
    }
    for (std::int64_t begin = 0; begin < source.file_bytes; begin += range_bytes)
      ranges.push_back({s, begin, std::min(begin + range_bytes, source.file_bytes),
                        std::min(range_bytes, source.file_bytes - begin)});
  }
  return ranges;
}

DocumentReader::DocumentReader(const TextSource& source, const TextFormat& format, const ByteRange& range)
    : source_(source),
      format_(format),
      separator_(separator_of(source, format)),
      end_(range.end),
      first_file_position_(range.begin),
      // The first document of a range begins after a separator that may reach over the cut.
      stream_(source.path, std::max<std::int64_t>(0, range.begin - static_cast<std::int64_t>(separator_.size()))),
      buffer_offset_(std::max<std::int64_t>(0, range.begin - static_cast<std::int64_t>(separator_.size()))) {
  if (range.begin == 0) {
    while (buffer_.size() < kByteOrderMark.size() && fill()) {
    }
    if (buffer_.starts_with(kByteOrderMark)) cursor_ = kByteOrderMark.size();
    return;
  }
  for (;;) {
    const std::size_t found = buffer_.find(separator_);
    if (found != std::string::npos) {
      cursor_ = found + separator_.size();
      return;
    }
    // Text before the first document of the range is another range's: let it go.
    const std::size_t keep = std::min(buffer_.size(), separator_.size() - 1);
    buffer_offset_ += static_cast<std::int64_t>(buffer_.size() - keep);
    buffer_.erase(0, buffer_.size() - keep);
    if (buffer_offset_ >= end_ || !fill()) break;
  }
  cursor_ = buffer_.size();
  buffer_offset_ = std::max(buffer_offset_, end_);
}

std::int64_t DocumentReader::bytes_read() const {
  return std::max<std::int64_t>(0, stream_.file_position() - (source_.is_gzip ? 0 : first_file_position_));
}

bool DocumentReader::fill() {
  if (at_end_of_file_) return false;
  const std::size_t size = buffer_.size();
  // Grow by half at least, so that a long document is not copied again and again.
  const std::size_t wanted = std::max(kTextReadBytes, size / 2);
  buffer_.resize(size + wanted);
  const std::size_t got = stream_.read(std::span(buffer_).subspan(size));
  buffer_.resize(size + got);
  at_end_of_file_ = got < wanted;
  return got > 0;
}

std::optional<std::string_view> DocumentReader::next_record(std::int64_t& offset) {
  offset = buffer_offset_ + static_cast<std::int64_t>(cursor_);
  if (offset >= end_) return std::nullopt;
  std::size_t searched = cursor_;
  for (;;) {
    const std::size_t found = separator_.empty() ? std::string::npos : buffer_.find(separator_, searched);
    if (found != std::string::npos) {
      const std::string_view record = std::string_view(buffer_).substr(cursor_, found - cursor_);
      cursor_ = found + separator_.size();
      return record;
    }
    if (at_end_of_file_) break;
    if (buffer_.size() - cursor_ > kLongestDocument)
      throw DataError(fmt::format("{}: the document at byte {} is longer than {} bytes; {}", source_.path, offset,
                                  kLongestDocument,
                                  source_.is_jsonl ? "is this one line a record?" : "give a separator of documents"));
    buffer_offset_ += static_cast<std::int64_t>(cursor_);
    buffer_.erase(0, cursor_);
    cursor_ = 0;
    const std::size_t overlap = separator_.empty() ? 0 : separator_.size() - 1;
    searched = buffer_.size() > overlap ? buffer_.size() - overlap : 0;
    fill();
  }
  if (cursor_ == buffer_.size()) return std::nullopt;
  const std::string_view record = std::string_view(buffer_).substr(cursor_);
  cursor_ = buffer_.size();
  return record;
}

bool DocumentReader::next(Document& document) {
  while (const auto record = next_record(document.offset)) {
    if (!is_blank(*record)) {
      take_text(*record, document.offset, document.text);
      if (!is_blank(document.text)) return true;
    }
    // A line break at the end of a file is no document left out.
    if (!record->empty()) ++num_skipped_;
  }
  return false;
}

void DocumentReader::take_text(std::string_view record, std::int64_t offset, std::string& text) const {
  std::string mended;
  if (const auto invalid = find_invalid_utf8(record)) {
    if (!format_.replace_invalid)
      throw DataError(
          fmt::format("{}: not UTF-8: byte 0x{:02X} at offset {}{}; convert the file to UTF-8, or ask for "
                      "such bytes to be replaced",
                      source_.path, static_cast<unsigned>(static_cast<unsigned char>(record[*invalid])),
                      offset + static_cast<std::int64_t>(*invalid),
                      source_.is_jsonl ? fmt::format(" ({})", line_name(offset)) : ""));
    mended = replace_invalid_utf8(record);
    record = mended;
  }
  if (!source_.is_jsonl) {
    text = record;
    return;
  }
  try {
    json object = json::parse(record);
    if (!object.is_object())
      throw DataError(
          fmt::format("{}: {}: wanted a JSON object, found {}", source_.path, line_name(offset), object.type_name()));
    const auto field = object.find(format_.text_field);
    if (field == object.end()) {
      std::string names;
      for (const auto& item : object.items()) names += (names.empty() ? "" : ", ") + item.key();
      throw DataError(fmt::format("{}: {}: no field named {}; there are: {}", source_.path, line_name(offset),
                                  format_.text_field, names));
    }
    if (!field->is_string())
      throw DataError(fmt::format("{}: {}: the field {} is {}, wanted a text", source_.path, line_name(offset),
                                  format_.text_field, field->type_name()));
    text = std::move(field->get_ref<std::string&>());
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{}: {}: {}", source_.path, line_name(offset), without_tag(error.what())));
  }
}

/// "line 17 (byte 3456)". Counts lines from the start of the file: for errors only.
std::string DocumentReader::line_name(std::int64_t offset) const {
  ByteStream stream(source_.path);
  std::string chunk(kTextReadBytes, '\0');
  std::int64_t line = 1;
  for (std::int64_t done = 0; done < offset;) {
    const auto part = std::min<std::int64_t>(offset - done, static_cast<std::int64_t>(chunk.size()));
    const std::size_t got = stream.read(std::span(chunk).first(static_cast<std::size_t>(part)));
    if (got == 0) break;
    line += std::count(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got), '\n');
    done += static_cast<std::int64_t>(got);
  }
  return fmt::format("line {} (byte {})", line, offset);
}

}  // namespace athanor
