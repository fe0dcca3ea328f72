// TensorBoard's event files, read back by a reader of their format that shares nothing with the writer.
#include "io/metrics/event_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "io/metrics/metrics.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("athanor_events_" + std::to_string(::getpid()));
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

/// CRC-32C bit by bit, from its definition.
std::uint32_t slow_crc(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? (crc >> 1) ^ 0x82f63b78U : crc >> 1;
  }
  return crc ^ 0xffffffffU;
}

std::uint32_t slow_mask(const std::string& bytes) {
  const std::uint32_t crc = slow_crc(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

template <class T>
T number_at(const std::string& bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// The records of a file; the checksums are looked at.
std::vector<std::string> records_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string all(std::istreambuf_iterator<char>(in), {});
  std::vector<std::string> records;
  for (std::size_t at = 0; at < all.size();) {
    const auto length = static_cast<std::size_t>(number_at<std::uint64_t>(all, at));
    EXPECT_EQ(number_at<std::uint32_t>(all, at + 8), slow_mask(all.substr(at, 8)));
    records.push_back(all.substr(at + 12, length));
    EXPECT_EQ(number_at<std::uint32_t>(all, at + 12 + length), slow_mask(records.back()));
    at += 12 + length + 4;
  }
  return records;
}

/// A message of protocol buffers as its fields; what is no sub-message stays bytes.
using Fields = std::multimap<unsigned, std::string>;

Fields fields_of(const std::string& bytes) {
  Fields fields;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes.at(at++));
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.size()) {
    const std::uint64_t key = varint();
    const auto field = static_cast<unsigned>(key >> 3);
    switch (key & 7) {
      case 0:
        fields.emplace(field, std::to_string(varint()));
        break;
      case 1:
        fields.emplace(field, bytes.substr(at, 8));
        at += 8;
        break;
      case 2: {
        const auto length = static_cast<std::size_t>(varint());
        fields.emplace(field, bytes.substr(at, length));
        at += length;
        break;
      }
      case 5:
        fields.emplace(field, bytes.substr(at, 4));
        at += 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return fields;
    }
  }
  return fields;
}

const std::string& only(const Fields& fields, unsigned field) {
  static const std::string kNone;
  EXPECT_EQ(fields.count(field), 1U) << "field " << field;
  const auto found = fields.find(field);
  return found == fields.end() ? kNone : found->second;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// The check value of CRC-32C, and an agreement with the slow one.
TEST(EventFile, ChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(masked_crc32c("athanor"), slow_mask("athanor"));
}

// Scalars come back with step, tag and value; the first record says which version the file is of.
TEST(EventFile, ScalarsReadBack) {
  const Folder folder;
  {
    EventFile file(folder.path, 0);
    file.write(300, std::array<Scalar, 3>{{{"loss", 2.5}, {"reward/mean", -0.125}, {"lr", std::nan("")}}});
  }
  const auto files = files_in(folder.path);
  ASSERT_EQ(files.size(), 1U);
  EXPECT_TRUE(files[0].filename().string().starts_with("events.out.tfevents.1"));
  const auto records = records_of(files[0]);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(only(fields_of(records[0]), 3), "brain.Event:2");

  const Fields event = fields_of(records[1]);
  EXPECT_GT(number_at<double>(only(event, 1), 0), 1.7e9);
  EXPECT_EQ(only(event, 2), "300");
  const Fields summary = fields_of(only(event, 5));
  ASSERT_EQ(summary.count(1), 3U);
  std::map<std::string, float> values;
  for (const auto& [field, bytes] : summary) {
    const Fields value = fields_of(bytes);
    values[only(value, 1)] = number_at<float>(only(value, 2), 0);
  }
  EXPECT_EQ(values["loss"], 2.5F);
  EXPECT_EQ(values["reward/mean"], -0.125F);
  EXPECT_TRUE(std::isnan(values["lr"]));
}

// A text is a tensor of one string, for the plugin of that name.
TEST(EventFile, TextReadsBack) {
  const Folder folder;
  const std::string said = "<think>2+2</think> \xe5\x9b\x9b\n" + std::string(300, 'x');
  EventFile(folder.path, 0).write_text(7, "completion 0", said);
  const auto records = records_of(files_in(folder.path).at(0));
  ASSERT_EQ(records.size(), 2U);
  const Fields value = fields_of(only(fields_of(only(fields_of(records[1]), 5)), 1));
  EXPECT_EQ(only(value, 1), "completion 0");
  EXPECT_EQ(only(fields_of(only(fields_of(only(value, 9)), 1)), 1), "text");
  const Fields tensor = fields_of(only(value, 8));
  EXPECT_EQ(only(tensor, 1), "7");
  EXPECT_EQ(only(fields_of(only(fields_of(only(tensor, 2)), 2)), 1), "1");
  EXPECT_EQ(only(tensor, 8), said);
}

// A restart leaves the older file as it is and says from which step on it counts.
TEST(EventFile, RestartBeginsAnotherFile) {
  const Folder folder;
  const auto metrics = folder.path / "metrics.jsonl";
  fs::create_directories(folder.path);
  const std::array<Scalar, 1> scalars{{{"loss", 1.0}}};
  {
    MetricsFile file(metrics, 0, folder.path / "events");
    for (const std::int64_t step : {1, 2, 3}) file.write("pretrain", step, scalars);
  }
  const auto before = records_of(files_in(folder.path / "events").at(0));
  MetricsFile(metrics, 2, folder.path / "events").write("pretrain", 3, scalars);

  const auto files = files_in(folder.path / "events");
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(records_of(files[0]), before);
  const auto records = records_of(files[1]);
  ASSERT_EQ(records.size(), 3U);
  const Fields start = fields_of(records[1]);
  EXPECT_EQ(only(start, 2), "3");
  EXPECT_EQ(only(fields_of(only(start, 7)), 1), "1");
  EXPECT_EQ(only(fields_of(records[2]), 2), "3");
}

}  // namespace
}  // namespace athanor
