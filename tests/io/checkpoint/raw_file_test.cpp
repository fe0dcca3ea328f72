// Bytes that were written are there, whichever way they went.
#include "io/checkpoint/raw_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace athanor {
namespace {

// Promise: with and without direct writes a file holds what was written at any place from any memory; the parts that no
// whole page holds included.
TEST(RawFile, HoldsWhatWasWrittenAnywhere) {
  const auto path = std::filesystem::temp_directory_path() / ("athanor_raw_file_" + std::to_string(::getpid()));
  constexpr std::size_t kPage = RawFile::kPageBytes;
  std::vector<std::byte> memory(8 * kPage);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<std::byte>(i * 131 >> 3U);
  const std::size_t on_page = (kPage - reinterpret_cast<std::uintptr_t>(memory.data()) % kPage) % kPage;
  for (const bool direct : {false, true}) {
    std::vector<std::byte> expected(24 * kPage);
    {
      auto file = RawFile::create(path);
      if (direct) file.prefer_direct();
      file.write_at(expected, 0);
      const auto put = [&](std::size_t from, std::size_t count, std::size_t offset) {
        const auto bytes = std::span<const std::byte>(memory).subspan(from, count);
        file.write_at(bytes, static_cast<std::int64_t>(offset));
        std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
      };
      put(on_page, 3 * kPage + 5, kPage);       // whole pages and a rest
      put(on_page, 2 * kPage, 6 * kPage + 7);   // memory on a page, file not
      put(on_page + 1, 2 * kPage, 10 * kPage);  // file on a page, memory not
      put(on_page, 17, 14 * kPage);             // less than a page
      put(on_page, 4 * kPage, 18 * kPage);      // pages alone
      file.sync();
    }

    std::vector<std::byte> found(expected.size());
    const auto file = RawFile::open_read_only(path);
    file.read_at(found, 0);

    EXPECT_EQ(file.size(), static_cast<std::int64_t>(expected.size()));
    EXPECT_EQ(found, expected) << (direct ? "direct" : "cached");
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace athanor
