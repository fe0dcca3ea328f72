// A process that saves one checkpoint after the other is killed at random instants (SIGKILL), again and again on the
// same folder, with keep_last = 1: the hardest case, since every save also deletes the one before.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>

#include "src/base/rng.hpp"

namespace athanor {
namespace {

struct Life {
  std::int64_t loaded = -2;  ///< -2: did not come so far
  std::int64_t last_saved = -1;
  int status = 0;  ///< of waitpid
};

/// Starts the child, lets it live for `milliseconds` after it has loaded, kills it.
Life live_and_die(const std::filesystem::path& folder, int milliseconds) {
  std::array<int, 2> channel{};
  if (::pipe(channel.data()) != 0) throw std::runtime_error("no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(channel[1], STDOUT_FILENO);
    ::close(channel[0]);
    ::close(channel[1]);
    ::execl(ATHANOR_CRASH_CHILD, ATHANOR_CRASH_CHILD, folder.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(channel[1]);
  Life life;
  std::string text;
  const auto read_for = [&](int limit) {
    pollfd ready{channel[0], POLLIN, 0};
    if (::poll(&ready, 1, limit) <= 0) return false;
    std::array<char, 4096> bytes{};
    const ssize_t count = ::read(channel[0], bytes.data(), bytes.size());
    if (count > 0) text.append(bytes.data(), static_cast<std::size_t>(count));
    return count > 0;
  };
  while (text.find('\n') == std::string::npos && read_for(60000)) {
  }
  ::usleep(static_cast<useconds_t>(milliseconds) * 1000);
  ::kill(child, SIGKILL);
  while (read_for(1000)) {
  }
  ::close(channel[0]);
  ::waitpid(child, &life.status, 0);
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    if (line.starts_with("loaded ")) life.loaded = std::stoll(line.substr(7));
    if (line.starts_with("saved ")) life.last_saved = std::stoll(line.substr(6));
  }
  return life;
}

// Promise: whenever the process dies, the next one loads, bit for bit, what was last reported as saved, or the save
// that was being finished when it died; never less, never a mixture.
TEST(CheckpointCrash, NothingSavedIsEverLost) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("athanor_checkpoint_crash_" + std::to_string(::getpid()));
  const Philox random(2026, RandomPurpose::test);
  std::int64_t last_saved = -1;
  for (std::uint64_t life_number = 0; life_number < 20; ++life_number) {
    const Life life = live_and_die(folder, static_cast<int>(random.word64(life_number) % 120));

    ASSERT_TRUE(WIFSIGNALED(life.status)) << "the child ended by itself with status " << WEXITSTATUS(life.status)
                                          << " (1: it could not load, 3: it loaded wrong values)";
    ASSERT_NE(life.loaded, -2) << "the child did not come to life within a minute";
    EXPECT_GE(life.loaded, last_saved);
    EXPECT_LE(life.loaded, last_saved + 1);
    last_saved = std::max(life.loaded, life.last_saved);
  }
  EXPECT_GT(last_saved, 0) << "no child lived long enough to save";
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace athanor
