// What `athanor report --follow` shows of the files of a run folder.
#include "jobs/report/live_view.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "src/base/error.hpp"

namespace athanor {
namespace {
namespace fs = std::filesystem;

constexpr double kBegan = 1.8e9;
constexpr std::string_view kTorn = R"({"stage":"tuned","ste)";  // the writer is not through

class LiveView : public testing::Test {
 protected:
  LiveView() : folder_(fs::temp_directory_path() / ("athanor_live_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "stages" / "tuned" / "checkpoints");
    write("config.resolved.cfg",
          "[recipe]\nstage = base\nstage = tuned\nstage = better\n[base]\nkind = pretrain\n"
          "[tuned]\nkind = pretrain\ninit = base\n[better]\nkind = rl\ninit = tuned\n");
    write("recipe_state.json", R"({"complete":[{"stage":"base","summary":{"steps":"10"}}]})");
  }
  ~LiveView() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

  /// `steps` lines of metrics.jsonl, two seconds apart, from the begin of the job on.
  void write_metrics(int steps, double from = kBegan) const {
    std::ofstream out(folder_ / "stages/tuned/metrics.jsonl", std::ios::app);
    for (int step = 1; step <= steps; ++step)
      out << fmt::format(R"({{"stage":"tuned","step":{},"loss":{},"tokens_per_second":12345.0,"unix_seconds":{:.3f}}})",
                         step, 4.0 - 0.1 * step, from + 2.0 * step)
          << '\n';
    out << R"({"stage":"tuned","step":1,"straggler/rank":5,"straggler/own_seconds":3,"straggler/median_seconds":2})"
        << '\n';
    out << kTorn;
  }

  void write_job(JobState::Is is) const {
    JobState job = running_job("node07", 8);
    job.is = is;
    job.began = kBegan;
    write_job_state(folder_, job);
  }

  static std::string all(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
  }

  fs::path folder_;
};

// The stage under way, how far it is, its numbers, the time left at the pace of its last steps, checkpoint, warnings.
TEST_F(LiveView, TellsHowFarTheJobIs) {
  write_metrics(30);
  write_job(JobState::Is::running);
  write_stage_goal(folder_ / "stages/tuned", {50, "steps"});
  write("stages/tuned/checkpoints/latest", "step_00000020\n");
  write("warnings.log", "one\ntwo\nthree\nfour\n");

  const LiveRecord record = read_live(folder_);
  ASSERT_TRUE(record.now);
  EXPECT_EQ(record.stage()->name, "tuned");
  EXPECT_EQ(record.warnings, (std::vector<std::string>{"two", "three", "four"}));
  const LiveLook look{.now = kBegan + 70.0, .width = 100, .job_may_live = true, .colours = false};
  // Twenty steps of two seconds, ten seconds of which are over.
  EXPECT_NEAR(seconds_left(record, look.now), 20 * 2.0 - 10.0, 1e-6);
  const std::string text = all(live_view(record, look));
  for (const char* wanted : {"✓ base", "▶ tuned", "· better", "step 30/50", "0:30 left", "loss", "12.3k", "tokens/s",
                             "running for 1:10", "8 ranks", "node07", "step_00000020", "four", "█", "slowest   rank 5"})
    EXPECT_NE(text.find(wanted), std::string::npos) << wanted << " is missing in\n" << text;
  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_EQ(live_line(record, look), "tuned step 30/50 loss 1 speed 12.3k, 0:30 left, saved step_00000020");
}

// Steps of a job before this one do not slow the pace.
TEST_F(LiveView, KnowsThePaceOfThisJob) {
  write_metrics(5, kBegan - 5000.0);
  fs::resize_file(folder_ / "stages/tuned/metrics.jsonl",
                  fs::file_size(folder_ / "stages/tuned/metrics.jsonl") - kTorn.size());
  write_metrics(10);
  write_job(JobState::Is::running);
  write_stage_goal(folder_ / "stages/tuned", {20, "steps"});
  EXPECT_NEAR(seconds_left(read_live(folder_), kBegan + 20.0), 20.0, 1e-6);
}

// A job that ended says how; one that was killed is known by its process.
TEST_F(LiveView, TellsHowTheJobEnded) {
  write_metrics(3);
  write_job(JobState::Is::stopped);
  const LiveLook look{.now = kBegan + 10.0, .width = 100, .job_may_live = true, .colours = false};
  EXPECT_NE(all(live_view(read_live(folder_), look)).find("stopped"), std::string::npos);

  JobState gone = running_job("node07", 8);
  gone.process = 1 << 29;  // no machine has so many
  EXPECT_FALSE(may_live(gone, "node07"));
  EXPECT_TRUE(may_live(gone, "node08"));
  EXPECT_TRUE(may_live(running_job("node07", 1), "node07"));
}

// No line is wider than the terminal, colours or not, so that it can be drawn over.
TEST_F(LiveView, KeepsToItsWidth) {
  write_metrics(30);
  write("warnings.log", std::string(500, 'w') + "\n");
  const LiveRecord record = read_live(folder_);
  for (const bool colours : {false, true})
    for (const std::string& line : live_view(record, {kBegan + 70.0, 30, true, colours})) {
      std::size_t signs = 0;
      bool colour = false;
      for (const char byte : line) {
        if (byte == '\033') colour = true;
        if (!colour && (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U) ++signs;
        if (byte == 'm') colour = false;
      }
      EXPECT_LE(signs, 30U) << line;
    }
}

// Worked by hand: eight steps from the lowest to the highest; equal values lie in the middle.
TEST(Sparkline, RisesWithItsPoints) {
  std::vector<ChartPoint> points;
  for (int i = 0; i < 8; ++i) points.push_back({static_cast<double>(i), static_cast<double>(i)});
  EXPECT_EQ(sparkline(points, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(sparkline(points, 4), "▁▃▆█");
  EXPECT_EQ(sparkline({{0, 1}, {1, 1}}, 8), "▅▅");
  EXPECT_EQ(sparkline({}, 8), "");
}

TEST(LiveRecord, WantsARunFolder) { EXPECT_THROW(read_live("/nowhere/at/all"), ConfigError); }

}  // namespace
}  // namespace athanor
