#include "jobs/run_folder.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/checkpoint/durable.hpp"
#include "jobs/shared_folder.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"

namespace athanor {

using nlohmann::json;

RunFolder::RunFolder(std::filesystem::path path, bool start_over, HostGroup& ranks)
    : path_(std::move(path)), rank_(ranks.rank()) {
  std::string state;
  job_ = running_job(ranks.host_name(), ranks.size());
  on_first_rank(ranks, [&] {
    try {
      open_on_rank_0(start_over);
      write_job_state(path_, job_);
    } catch (const std::filesystem::filesystem_error& error) {
      throw ConfigError(std::string("run.folder: ") + error.what());
    }
    if (std::ifstream in(path_ / "recipe_state.json"); in) state.assign(std::istreambuf_iterator<char>(in), {});
  });
  check_shared(ranks);
  state = ranks.broadcast(state, 0);
  if (state.empty()) return;
  const json parsed = json::parse(state, nullptr, false);
  if (parsed.is_discarded() || !parsed.contains("complete"))
    throw ConfigError("run.folder: " + (path_ / "recipe_state.json").string() +
                      " is damaged; remove it to run all stages again");
  for (const json& entry : parsed["complete"]) {
    const auto name = entry.at("stage").get<std::string>();
    order_.push_back(name);
    complete_[name] = entry.at("summary").get<std::map<std::string, std::string>>();
  }
}

void RunFolder::check_shared(HostGroup& ranks) const {
  if (ranks.size() == 1) return;
  const bool seen = sees_what_rank_0_writes(ranks, path_);
  const auto blind = ranks.all_gather(seen ? std::string() : ranks.host_name());
  const std::string first_host = ranks.broadcast(ranks.host_name(), 0);
  std::string odd;
  for (std::size_t rank = 0; rank < blind.size(); ++rank)
    if (!blind[rank].empty()) odd += " rank " + std::to_string(rank) + " (" + blind[rank] + ")";
  if (!odd.empty())
    throw ConfigError("run.folder: " + path_.string() + ": these ranks do not see what rank 0 (" + first_host +
                      ") writes there:" + odd + "; choose a folder on a file system that all ranks share");
}

void RunFolder::open_on_rank_0(bool start_over) {
  const bool was_there = std::filesystem::exists(path_) && !std::filesystem::is_empty(path_);
  if (start_over && was_there && !std::filesystem::exists(path_ / "stages"))
    throw ConfigError("run.start_over: " + path_.string() +
                      " holds files but no run, so it is not moved aside; give another --run.folder");
  // The lock comes first: a folder in which a job is at work is not moved away under it.
  lock_folder();
  if (start_over && was_there) {
    int number = 1;
    while (std::filesystem::exists(path_.string() + "." + std::to_string(number))) ++number;
    std::filesystem::rename(path_, path_.string() + "." + std::to_string(number));
    ::close(std::exchange(lock_, -1));
    lock_folder();
  }
  std::filesystem::create_directories(path_ / "stages");
  // A stop that was asked of the job before is done with.
  std::filesystem::remove(stop_file());
}

void RunFolder::lock_folder() {
  std::filesystem::create_directories(path_);
  const auto lock = path_ / ".lock";
  lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw ConfigError("run.folder: " + lock.string() + " cannot be opened: " + std::strerror(errno));
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(std::exchange(lock_, -1));
  throw ConfigError("run.folder: another job is running in " + path_.string() +
                    "; wait for it, stop it or give another --run.folder");
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

void RunFolder::end_job(JobState::Is is, const std::string& why) {
  job_.is = is;
  job_.why = why;
  if (rank_ != 0) return;
  try {
    write_job_state(path_, job_);
  } catch (const DataError& error) {
    spdlog::warn("{}", error.what());  // who looks from elsewhere learns it later; how the job ends it does not change
  }
}

void RunFolder::mark_complete(const std::string& stage, const std::map<std::string, std::string>& summary) {
  if (!complete_.contains(stage)) order_.push_back(stage);
  complete_[stage] = summary;
  if (rank_ == 0) write_state();
}

void RunFolder::write_text(const std::string& name, const std::string& text) const {
  if (rank_ == 0) replace_text_file(path_ / name, text);
}

void RunFolder::write_state() const {
  json entries = json::array();
  std::vector<std::string> columns;
  for (const std::string& name : order_) {
    const auto& summary = complete_.at(name);
    entries.push_back({{"stage", name}, {"summary", summary}});
    for (const auto& [key, value] : summary)
      if (std::find(columns.begin(), columns.end(), key) == columns.end()) columns.push_back(key);
  }
  std::string table = "| stage |", rule = "|---|";
  for (const auto& column : columns) table += " " + column + " |", rule += "---|";
  table += "\n" + rule + "\n";
  for (const std::string& name : order_) {
    table += "| " + name + " |";
    for (const auto& column : columns) {
      const auto found = complete_.at(name).find(column);
      table += " " + (found == complete_.at(name).end() ? std::string("-") : found->second) + " |";
    }
    table += "\n";
  }
  write_text("summary.json", entries.dump(2) + "\n");
  write_text("summary.md", table);
  write_text("recipe_state.json", json{{"complete", entries}}.dump(2) + "\n");
}

}  // namespace athanor
