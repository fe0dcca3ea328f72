// What the user wrote: `key = value` with the place it stands at. Grammar is Boost.Program_options' (INI files and the
// command line); this file adds where each value came from and what the grammar does not know: files that name files.
// Law: nothing is interpreted here. Which value wins is decided in configuration.cpp, what it means by an OptionTable.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace athanor {

struct Assignment {
  std::string key;  ///< "section.name"; in a stage's section "STAGE.name" or "STAGE.section.name"
  std::string value;
  std::string origin;  ///< "configs/recipes/smoke.cfg:12" or "command line"
  /// Order of the source it stands in: a later source wins. A file named by another (`config = FILE`) comes before it.
  int source = 0;
  int line = 0;  ///< 0 on the command line
};

/// The assignments of an INI file: `[section]`, `key = value`, `#` begins a comment. `config = FILE` (relative to this
/// file's folder) reads FILE first; inside `[section]` its keys get that section as prefix, so a stage can take a model
/// from a file of its own. @param next_source is counted up by the sources read.
/// @throws ConfigError naming file, line and remedy (unreadable, malformed, files that name each other in a circle).
std::vector<Assignment> read_config_file(const std::filesystem::path& file, int& next_source);

}  // namespace athanor
