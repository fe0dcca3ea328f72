// `athanor report FOLDER --follow`: a running job in the terminal, until it ends.
#pragma once

#include <filesystem>

namespace athanor {

/// Draws live_view again and again, every `interval_seconds`; where output goes to no terminal, a live_line whenever it
/// changes. Returns when the job has ended or its process is gone; Ctrl-C ends it like any program, and harms nothing:
/// files are only read. One rank alone. @throws ConfigError when the folder holds no run.
void follow_run(const std::filesystem::path& folder, double interval_seconds);

}  // namespace athanor
