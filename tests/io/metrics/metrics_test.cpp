#include "io/metrics/metrics.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace athanor {
namespace {

std::vector<nlohmann::json> records(const std::filesystem::path& path) {
  std::vector<nlohmann::json> found;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) found.push_back(nlohmann::json::parse(line));
  return found;
}

// Promise: after a restart every step stands in the file once; what a crash tore off is gone.
TEST(MetricsFile, CutsRecordsPastTheRestoredStep) {
  const auto path =
      std::filesystem::temp_directory_path() / ("athanor_metrics_" + std::to_string(::getpid()) + ".jsonl");
  std::filesystem::remove(path);
  const auto write = [&](MetricsFile& file, std::int64_t step) {
    const std::array<Scalar, 2> scalars{
        {{"loss", 1.0 / static_cast<double>(step)}, {"bad", std::numeric_limits<double>::quiet_NaN()}}};
    file.write("pretrain", step, scalars);
  };
  {
    MetricsFile file(path, 0);
    for (const std::int64_t step : {1, 2, 3, 4}) write(file, step);
  }
  std::ofstream(path, std::ios::app) << "{\"stage\":\"pretrain\",\"ste";
  {
    MetricsFile file(path, 2);
    write(file, 3);
  }
  const auto found = records(path);
  ASSERT_EQ(found.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found[i]["step"], i + 1);
    EXPECT_EQ(found[i]["loss"].get<double>(), 1.0 / static_cast<double>(i + 1));
    EXPECT_TRUE(found[i]["bad"].is_null());
  }
  std::filesystem::remove(path);
}

TEST(FormatSeconds, IsWhatPeopleRead) {
  EXPECT_EQ(format_seconds(5.4), "0:05");
  EXPECT_EQ(format_seconds(3723), "1:02:03");
  EXPECT_EQ(format_seconds(-1), "0:00");
}

}  // namespace
}  // namespace athanor
