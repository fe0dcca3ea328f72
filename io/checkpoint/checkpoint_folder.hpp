// The folder that holds the checkpoints of a run, as names and renames. Law: only rank 0 changes it; a name changes by
// one rename, so after a crash every checkpoint is there whole or not at all:
//   step_00000040            finished
//   step_00000050.tmp        being written; worth nothing after a crash
//   step_00000040.old        stepped aside for its successor of the same step; comes back if that did not arrive
//   step_00000040.removed    being deleted
//   step_00000060.abandoned  newer than what the run went back to; kept for people, read by nobody
//   latest                   text file: the name of the newest finished one
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace athanor::checkpoint_folder {

/// "step_00000040"
std::string step_name(std::int64_t step);
/// The step of a finished checkpoint's path; -1 when it is none.
std::int64_t step_of(const std::filesystem::path& checkpoint);
/// Finished checkpoints, oldest step first.
std::vector<std::filesystem::path> finished(const std::filesystem::path& folder);

/// Puts right what a crash or a failed save left.
void recover(const std::filesystem::path& folder);
/// Makes `temporary` the finished checkpoint of `step` and the latest. Finished ones of higher steps, which the run
/// left behind when it went back to an older one, become ".abandoned". Durable on return. @throws DataError
void commit(const std::filesystem::path& folder, const std::filesystem::path& temporary, std::int64_t step);
/// Deletes all but the newest `keep_last` finished ones (0: keeps all). What cannot be deleted is logged.
void remove_all_but(const std::filesystem::path& folder, std::int64_t keep_last);

}  // namespace athanor::checkpoint_folder
