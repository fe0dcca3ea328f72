// A run folder keeps what is finished and who is at work in it; a stop is everybody's.
#include "jobs/run_folder.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>

#include "jobs/same_run.hpp"
#include "jobs/stop_signal.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;

class RunFolders : public testing::Test {
 protected:
  RunFolders() {
    // One name on all ranks, of rank 0's choice.
    base_ = world_.broadcast((fs::temp_directory_path() / ("athanor_run_" + std::to_string(::getpid()))).string(), 0);
    folder_ = base_ / "run";
    if (world_.rank() == 0) fs::create_directories(base_);
    world_.barrier();
  }
  ~RunFolders() override {
    world_.barrier();
    std::error_code ignored;
    if (world_.rank() == 0) fs::remove_all(base_, ignored);
  }
  void write(const fs::path& file, const std::string& text) {
    if (world_.rank() == 0) std::ofstream(file) << text;
    world_.barrier();
  }
  /// The error of opening the folder, which every rank meets alike.
  std::string error_of(bool start_over) {
    try {
      RunFolder folder(folder_, start_over, world_);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

  HostGroup world_ = HostGroup::world();
  fs::path base_, folder_;
};

// Promise: one job a folder; a second one is refused on every rank, and does not move the first one's folder away.
TEST_F(RunFolders, HaveOneJobAtATime) {
  {
    RunFolder first(folder_, false, world_);
    EXPECT_NE(error_of(false).find("another job"), std::string::npos);
    EXPECT_NE(error_of(true).find("another job"), std::string::npos);
    EXPECT_FALSE(fs::exists(folder_.string() + ".1"));
    world_.barrier();
  }
  world_.barrier();
  EXPECT_EQ(error_of(false), "no error");
}

// Promise: what is complete is known to every rank of the next job, with its summary.
TEST_F(RunFolders, RememberWhatIsComplete) {
  {
    RunFolder folder(folder_, false, world_);
    EXPECT_FALSE(folder.is_complete("one"));
    folder.mark_complete("one", {{"steps", "7"}});
    world_.barrier();
  }
  world_.barrier();
  RunFolder folder(folder_, false, world_);
  EXPECT_TRUE(folder.is_complete("one"));
  EXPECT_FALSE(folder.is_complete("two"));
  EXPECT_TRUE(fs::exists(folder_ / "summary.md"));
}

// Promise: starting over keeps the old run under another name, and touches no folder that is none of ours.
TEST_F(RunFolders, StartOverMovesTheOldRunAside) {
  {
    RunFolder folder(folder_, false, world_);
    folder.mark_complete("one", {});
    world_.barrier();
  }
  world_.barrier();
  {
    RunFolder folder(folder_, true, world_);
    EXPECT_FALSE(folder.is_complete("one"));
    EXPECT_TRUE(fs::exists(folder_.string() + ".1/recipe_state.json"));
    world_.barrier();
  }
  folder_ = base_ / "letters";
  if (world_.rank() == 0) fs::create_directories(folder_);
  write(folder_ / "to_mother.txt", "dear");
  EXPECT_NE(error_of(true).find("no run"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder_ / "to_mother.txt"));
}

// Promise: a stage that is complete is asked for as it was run, or refused by key, old value and new one; a stage still
// to run may change; where and how it runs may always change.
TEST_F(RunFolders, RefuseOtherOptionsForWhatIsComplete) {
  const auto configuration = [](std::vector<Assignment> more) {
    std::vector<Assignment> all{{"recipe.stage", "one", "a.cfg:1", 0, 1},
                                {"one.kind", "pretrain", "a.cfg:2", 0, 2},
                                {"recipe.stage", "two", "a.cfg:3", 0, 3},
                                {"two.kind", "pretrain", "a.cfg:4", 0, 4}};
    all.insert(all.end(), more.begin(), more.end());
    return Configuration(all, OptionTable{});
  };
  RunFolder folder(folder_, false, world_);
  EXPECT_TRUE(check_same_run(configuration({}), folder, world_).empty()) << "a new folder";
  folder.write_text("config.resolved.cfg", configuration({}).text());
  folder.mark_complete("one", {});
  world_.barrier();

  EXPECT_TRUE(check_same_run(configuration({{"run.log_every", "7", "b.cfg:1", 1, 1}}), folder, world_).empty());
  EXPECT_EQ(check_same_run(configuration({{"two.optimizer.lr", "0.5", "b.cfg:9", 1, 9}}), folder, world_).size(), 1U);
  try {
    check_same_run(configuration({{"run.steps", "777", "b.cfg:5", 1, 5}}), folder, world_);
    ADD_FAILURE() << "a finished stage was told anew";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("one: run.steps: 100 -> 777 (b.cfg:5)"), std::string::npos)
        << error.what();
  }
}

// Promise: a signal to one rank, or the stop file, stops all ranks after the same step.
TEST_F(RunFolders, AStopIsAgreedByAllRanks) {
  {
    StopSignal stop(folder_ / "STOP", {});
    EXPECT_FALSE(stop.agreed(world_));
    if (world_.rank() == world_.size() - 1) std::raise(SIGUSR1);
    EXPECT_TRUE(stop.agreed(world_));
  }
  {
    StopSignal stop(base_ / "STOP", {});
    EXPECT_FALSE(stop.agreed(world_)) << "the signal of a job before";
    write(base_ / "STOP", "");
    bool stopped = false;
    const auto begin = std::chrono::steady_clock::now();
    while (!stopped) {
      stopped = stop.agreed(world_);
      if (world_.any(std::chrono::steady_clock::now() - begin > std::chrono::seconds(60))) break;
    }
    EXPECT_TRUE(stopped);
  }
  StopSignal stop(folder_ / "STOP", {1e-9, std::nullopt});
  EXPECT_TRUE(stop.agreed(world_)) << "the time limit";
}

}  // namespace
}  // namespace athanor
