// Which value wins, for every stage, and why. Law:
//   command line > configuration files > defaults; a later file wins over an earlier one, and a file over the files it
//   names. Among files, and on the command line, what a stage's section says wins over the shared section. A list takes
//   all its values from the one source that wins.
// A stage that begins from an earlier one (init) has its [model], unless its own section says otherwise.
// Every value knows its origin, and text() writes everything down so that reading it back gives the same values.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/options/assignment.hpp"
#include "io/options/job_options.hpp"
#include "io/options/option_table.hpp"

namespace athanor {

class Configuration {
 public:
  /// @param assignments of files and command line. @param others sections that belong to commands, not to stages.
  /// @throws ConfigError for an unknown key (naming the nearest known one), a key given twice in one file, a stage
  /// without a section or with the name of one that has another meaning, and any value that does not convert.
  Configuration(std::vector<Assignment> assignments, const OptionTable& others);

  /// `[recipe] stage = NAME`, in order.
  const std::vector<std::string>& stages() const { return stages_; }
  /// What a stage is told; "" asks for the shared sections alone.
  JobOptions job(std::string_view stage = "") const;
  StageOptions stage(std::string_view name) const;
  /// Sets the rows of `table` that were given, as `stage` sees them.
  void apply(OptionTable& table, std::string_view stage = "") const;

  /// Checks what no single option can: the model's shape. @throws ConfigError with the origins of the keys it names.
  void validate(std::string_view stage) const;

  /// Where a value was set: "file:line", "command line" or "default".
  std::string origin(std::string_view key, std::string_view stage = "") const;
  /// Keys and values as `stage` sees them, its own keys included; items of lists joined by ", ".
  std::map<std::string, std::string> values(std::string_view stage) const;
  /// The resolved configuration, as a file that can be read again, each value with its origin.
  /// @throws ConfigError for a value no file can hold (a line break or '#').
  std::string text() const;

 private:
  /// The stage, the earlier one that its `init` names, the one before that, ...
  std::vector<std::string> lineage(std::string_view stage) const;
  /// The assignments that win for `key`, in order: one, or all of a list's; empty: the default stands.
  std::vector<const Assignment*> winners(std::string_view key, std::string_view stage, bool is_list) const;
  void check_keys(const OptionTable& others);
  void check_stages() const;

  std::vector<Assignment> assignments_;
  std::vector<std::string> stages_;
};

}  // namespace athanor
