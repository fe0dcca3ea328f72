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

/// @param words what stands after the command. @param known options that take a value with or without "=".
/// @param positional_key where words without dashes go; empty: they are errors.
/// @throws ConfigError naming the word or the file and line.
Invocation parse_invocation(const std::vector<std::string>& words, const OptionTable& known,
                            const std::string& positional_key);

}  // namespace athanor
