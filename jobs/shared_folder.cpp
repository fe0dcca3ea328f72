#include "jobs/shared_folder.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "io/checkpoint/durable.hpp"
#include "parallel/agreement.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {

bool sees_what_rank_0_writes(HostGroup& ranks, const std::filesystem::path& folder) {
  constexpr double kPatience = 5.0;  // seconds
  const std::string word =
      ranks.broadcast(fmt::format("{} {}", ::getpid(), std::chrono::system_clock::now().time_since_epoch().count()), 0);
  const auto file = folder / ".athanor_seen";
  on_first_rank(ranks, [&] { replace_text_file(file, word); });
  bool seen = false;
  for (const auto begin = Clock::now(); !seen;) {
    std::ifstream in(file);
    std::string found;
    std::getline(in, found);
    seen = found == word;
    if (seen || seconds_since(begin) > kPatience) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ranks.barrier();
  if (ranks.rank() == 0) {
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  }
  return seen;
}

}  // namespace athanor
