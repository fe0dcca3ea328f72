// report.html: a run on one page that needs nothing else: curves of every stage, results, completions to read.
// Laws: no script, nothing loaded from elsewhere; whatever a model wrote stands there as text. Written when a stage
// ends and by `athanor report`, also while a run goes on.
#pragma once

#include <filesystem>
#include <string>

#include "jobs/report/run_record.hpp"

namespace athanor {

std::string report_page(const RunRecord& run);

/// Writes FOLDER/report.html. One rank alone. @throws ConfigError when the folder holds no run, DataError when the page
/// cannot be written.
void write_report(const std::filesystem::path& run_folder);

}  // namespace athanor
