// The folder of a run: who holds it, what is done, where things lie. Law: rank 0 reads and writes it; small files are
// replaced by a rename; one job at a time, kept apart by a lock that dies with its process.
//   job.json (whether a job is at work)  warnings.log (of all ranks)
//   config.resolved.cfg  recipe_state.json  summary.json  summary.md  report.html  STOP (made by the user: stop soon)
//   tokenizer.json (where the run learned one)
//   stages/NAME/{goal.json, metrics.jsonl, data/, checkpoints/, traces/}  tensorboard/NAME/
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "jobs/job_state.hpp"
#include "parallel/host_group.hpp"

namespace athanor {

class RunFolder {
 public:
  /// Collective. Makes the folder, or goes on in it; with start_over an old one is moved aside to FOLDER.1, FOLDER.2,
  /// ...
  /// @throws ConfigError on every rank when it cannot be made, another job holds it or some
  /// ranks look at another folder of that name.
  RunFolder(std::filesystem::path path, bool start_over, HostGroup& ranks);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path stage(const std::string& name) const { return path_ / "stages" / name; }
  std::filesystem::path stop_file() const { return path_ / "STOP"; }

  /// The same on every rank.
  bool is_complete(const std::string& stage) const { return complete_.contains(stage); }
  /// Rank 0 writes; call on every rank. `summary` becomes the stage's entry of summary.json and row of summary.md.
  void mark_complete(const std::string& stage, const std::map<std::string, std::string>& summary);
  /// Rank 0 writes, or warns where it cannot: this job is at its end, and why.
  void end_job(JobState::Is is, const std::string& why);
  /// Rank 0 writes.
  void write_text(const std::string& name, const std::string& text) const;

 private:
  void open_on_rank_0(bool start_over);
  void check_shared(HostGroup& ranks) const;
  void lock_folder();
  void write_state() const;

  std::filesystem::path path_;
  int rank_;
  int lock_ = -1;
  JobState job_;
  std::map<std::string, std::map<std::string, std::string>> complete_;
  std::vector<std::string> order_;
};

}  // namespace athanor
