// The command line: `athanor COMMAND [words] [--config FILE]... [--section.key=value]...`, read into assignments
// together with the files it names. Law: every rank reads the same words and files, so every rank finds the same values
// or the same error.
#pragma once

#include <string>
#include <vector>

#include "io/options/assignment.hpp"
#include "io/options/option_table.hpp"

namespace athanor {

/// Origin of what was given on the command line.
inline constexpr const char* kCommandLine = "command line";

struct Invocation {
  bool help = false;
  std::vector<std::string> config_files;
  std::vector<Assignment> assignments;  ///< files first, in the order of their precedence; then the command line
};

/// What a command takes.
struct CommandLineForm {
  std::vector<const OptionTable*> options;
  std::string positional_key;  ///< where words without dashes go; empty: they are errors
  /// Keys of stages' sections ("STAGE.optimizer.lr") are taken too; the Configuration knows whether there is such a
  /// stage.
  bool takes_stage_keys = false;
};

/// @param words what stands after the command.
/// @throws ConfigError naming the word, with the nearest option of this command, or the file and line.
Invocation parse_invocation(const std::vector<std::string>& words, const CommandLineForm& form);

}  // namespace athanor
