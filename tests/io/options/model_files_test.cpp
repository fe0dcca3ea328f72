// The files of configs/ describe the models they are named after.
#include <gtest/gtest.h>

#include <filesystem>

#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(ATHANOR_SOURCE_DIR) / "configs";

Configuration read(const std::filesystem::path& file) {
  int sources = 0;
  return {read_config_file(file, sources), OptionTable{}};
}

std::int64_t total(const std::string& name) {
  const Configuration configuration = read(kConfigs / "models" / (name + ".cfg"));
  configuration.validate("");
  return parameter_count(configuration.job().model).total;
}

// Promise: the real-size files count to the unit. DeepSeek: the published totals; Qwen and Llama: their model cards'
// totals (1.54B, 7.62B, 0.6B, 8.03B), the units from their shapes by hand.
TEST(ModelFiles, CountToTheUnit) {
  EXPECT_EQ(total("deepseek_v3"), 671'026'419'200);
  EXPECT_EQ(total("deepseek_v2_lite"), 15'706'484'224);
  EXPECT_EQ(total("qwen2.5_1.5b"), 1'543'714'304);
  EXPECT_EQ(total("qwen2.5_7b"), 7'615'616'512);
  EXPECT_EQ(total("qwen3_0.6b"), 596'049'920);
  EXPECT_EQ(total("llama3.1_8b"), 8'030'261'248);
}

// Promise: every model, layout and recipe can be read by itself and describes a model that can be built.
TEST(ModelFiles, AllCanBeRead) {
  int files = 0;
  for (const char* folder : {"models", "layouts", "recipes"})
    for (const auto& entry : std::filesystem::directory_iterator(kConfigs / folder)) {
      if (entry.path().extension() != ".cfg") continue;
      ++files;
      EXPECT_NO_THROW({
        const Configuration configuration = read(entry.path());
        configuration.validate("");
        for (const std::string& stage : configuration.stages()) configuration.validate(stage);
      }) << entry.path();
    }
  EXPECT_GE(files, 10);
}

}  // namespace
}  // namespace athanor
