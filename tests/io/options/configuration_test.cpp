#include "io/options/configuration.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/options/invocation.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

class Configurations : public testing::Test {
 protected:
  Configurations()
      : folder_(std::filesystem::temp_directory_path() / ("athanor_options_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Configurations() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& text) {
    const auto path = folder_ / name;
    std::ofstream(path) << text;
    return path.string();
  }
  /// What `athanor run` makes of these words.
  static Configuration configuration(const std::vector<std::string>& words) {
    JobOptions job;
    OptionTable table;
    describe(table, job);
    return {parse_invocation(words, {{&table}, "", true}).assignments, OptionTable{}};
  }
  static std::string error_of(const std::vector<std::string>& words) {
    try {
      (void)configuration(words);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }
  static void expect_contains(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
  }

  std::filesystem::path folder_;
};

// Promise: command line > later file > earlier file > default, and each value knows where it came from.
TEST_F(Configurations, TheNearestSourceWins) {
  const auto first = file("first.cfg", "[run]\nsteps = 10\nseed = 4\n[optimizer]\nlr = 0.5\n");
  const auto second = file("second.cfg", "[run]\nsteps = 20\n");
  const Configuration found = configuration({"--config", first, "--config", second, "--optimizer.lr=0.25"});
  EXPECT_EQ(found.job().run.steps, 20);
  EXPECT_EQ(found.job().run.seed, 4U);
  EXPECT_EQ(found.job().optimizer.lr.peak, 0.25);
  EXPECT_EQ(found.job().run.keep_last, RunOptions{}.keep_last);
  expect_contains(found.origin("run.steps"), "second.cfg:2");
  expect_contains(found.origin("run.seed"), "first.cfg:3");
  EXPECT_EQ(found.origin("optimizer.lr"), "command line");
  EXPECT_EQ(found.origin("run.keep_last"), "default");
}

// Promise: a stage's own section beats the shared one, for this stage alone.
TEST_F(Configurations, AStageOverridesForItself) {
  const auto recipe =
      file("recipe.cfg",
           "[recipe]\nstage = one\nstage = two\n[run]\nsteps = 5\n[one]\nkind = pretrain\nrun.steps = 7\n[two]\nkind = "
           "evaluate\ninit = one\n");
  const Configuration found = configuration({"--config", recipe});
  EXPECT_EQ(found.stages(), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(found.job("one").run.steps, 7);
  EXPECT_EQ(found.job("two").run.steps, 5);
  EXPECT_EQ(found.stage("two").kind, "evaluate");
  EXPECT_EQ(found.stage("two").init, "one");
}

// Promise: unknown keys and bad values are errors with the place, the nearest key and what is allowed.
TEST_F(Configurations, MistakesAreNamed) {
  const auto unknown = file("unknown.cfg", "[model]\n\ndimm = 3\n");
  expect_contains(error_of({"--config", unknown}), "unknown.cfg:3: unknown key model.dimm; the nearest is model.dim");
  expect_contains(error_of({"--run.stepz=3"}), "run.steps");
  const auto bad = file("bad.cfg", "[run]\nsteps = many\n");
  const std::string error = error_of({"--config", bad});
  expect_contains(error, "run.steps");
  expect_contains(error, "many");
  expect_contains(error, "bad.cfg:2");
  expect_contains(error_of({"--run.dtype=f16"}), "run.dtype");
  expect_contains(error_of({"--run.steps=-1"}), "run.steps");
  expect_contains(error_of({"--config", (folder_ / "none.cfg").string()}), "none.cfg");
  const auto twice = file("twice.cfg", "[run]\nsteps = 1\nsteps = 2\n");
  expect_contains(error_of({"--config", twice}), "given twice");
}

// Promise: a command refuses what it would not use, on the command line; a file may say more than one command needs.
TEST_F(Configurations, ACommandTakesItsOwnOptionsOnly) {
  RunOptions run;
  OptionTable table;
  describe(table, run);
  const CommandLineForm form{{&table}, "", false};
  EXPECT_EQ(parse_invocation({"--run.device", "cpu"}, form).assignments.size(), 1U);
  EXPECT_EQ(parse_invocation({"--run.start_over"}, form).assignments.at(0).value, "true");
  EXPECT_EQ(parse_invocation({"--run.start_over", "runs/x"}, {{&table}, "run.folder"}).assignments.at(0).value, "true");
  EXPECT_EQ(parse_invocation({"--run.start_over", "false"}, form).assignments.at(0).value, "false");
  EXPECT_EQ(parse_invocation({"--run.start_over=false"}, form).assignments.at(0).value, "false");
  EXPECT_EQ(parse_invocation({"--config", file("more.cfg", "[optimizer]\nlr = 1\n")}, form).assignments.size(), 1U);
  for (const std::string word : {"--optimizer.lr=1", "--one.run.steps=3", "--run.devise=cpu", "loose"}) try {
      parse_invocation({word}, form);
      ADD_FAILURE() << word << " was taken";
    } catch (const ConfigError& error) {
      expect_contains(error.what(), word.substr(0, word.find('=')));
    }
}

// Promise: a list keeps the order of the winning source; a file can take its model from another file.
TEST_F(Configurations, ListsAndFilesInFiles) {
  file("model.cfg", "dim = 96\nnum_heads = 3\n");
  const auto recipe =
      file("recipe.cfg", "[data]\ntrain = a.txt @ 2\ntrain = b.txt\n[model]\nconfig = model.cfg\nnum_heads = 6\n");
  const Configuration found = configuration({"--config", recipe});
  EXPECT_EQ(found.job().data.train, (std::vector<std::string>{"a.txt @ 2", "b.txt"}));
  EXPECT_EQ(found.job().model.dim, 96);
  EXPECT_EQ(found.job().model.num_heads, 6);
  EXPECT_EQ(configuration({"--config", recipe, "--data.train=c.txt"}).job().data.train,
            std::vector<std::string>{"c.txt"});
}

// Promise: the resolved configuration, read again, gives the same values for every stage.
TEST_F(Configurations, TheResolvedTextReadsBackTheSame) {
  const auto recipe =
      file("recipe.cfg",
           "[recipe]\nstage = one\n[data]\ntrain = a.txt\ntrain = b.txt\n[optimizer]\nlr = 0.1\nschedule = "
           "wsd\n[one]\nkind = pretrain\noptimizer.lr = 1e-7\n");
  const Configuration found = configuration({"--config", recipe, "--run.time_limit=1:30", "--run.dtype=bf16"});
  const Configuration again = configuration({"--config", file("resolved.cfg", found.text())});
  EXPECT_EQ(again.values("one"), found.values("one"));
  EXPECT_EQ(again.values(""), found.values(""));
  EXPECT_EQ(again.job().run.time_limit.seconds, 90.0);
  EXPECT_EQ(again.job("one").optimizer.lr.peak, 1e-7);
}

// Promise: a model that cannot be is refused with its keys and where they were set.
TEST_F(Configurations, AnImpossibleModelNamesTheKeys) {
  const auto model = file("model.cfg", "[model]\nattention = gqa\nnum_heads = 3\nnum_kv_heads = 2\n");
  try {
    configuration({"--config", model}).validate("");
    FAIL() << "3 query heads on 2 key heads were accepted";
  } catch (const ConfigError& error) {
    expect_contains(error.what(), "model.num_heads");
    expect_contains(error.what(), "model.cfg:3");
  }
}

// Promise: a stage that begins from an earlier one has its model, through any number of them, until a section says
// otherwise; what is written down is read back the same, also where a stage goes back to the shared value.
TEST_F(Configurations, AStageHasTheModelOfItsInit) {
  const auto recipe = file("r.cfg",
                           "[recipe]\nstage = a\nstage = b\nstage = c\nstage = d\n[model]\ndim = 64\n[a]\nkind = "
                           "pretrain\nmodel.dim = 32\noptimizer.lr = 0.5\n[b]\nkind = rl\ninit = a\n[c]\nkind = "
                           "evaluate\ninit = b\nmodel.dim = 64\n[d]\nkind = evaluate\ninit = /elsewhere/a\n");
  const Configuration found = configuration({"--config", recipe});
  EXPECT_EQ(found.job("a").model.dim, 32);
  EXPECT_EQ(found.job("b").model.dim, 32);
  EXPECT_EQ(found.job("c").model.dim, 64);
  EXPECT_EQ(found.job("d").model.dim, 64);
  EXPECT_NE(found.job("b").optimizer.lr.peak, 0.5) << "the model alone is handed on";
  const Configuration again = configuration({"--config", file("resolved.cfg", found.text())});
  for (const char* stage : {"a", "b", "c", "d"}) EXPECT_EQ(again.values(stage), found.values(stage)) << stage;
}

}  // namespace
}  // namespace athanor
