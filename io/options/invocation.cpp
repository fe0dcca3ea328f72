#include "io/options/invocation.hpp"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <limits>
#include <set>

#include "src/base/error.hpp"

namespace athanor {
namespace po = boost::program_options;

namespace {

/// Writes out a switch that stands alone: --follow is --follow=true, also before a word. Boost's implicit values would
/// take that word.
std::vector<std::string> with_switches_on(std::vector<std::string> words, const std::set<std::string>& switches) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool has_value = i + 1 < words.size() && (words[i + 1] == "true" || words[i + 1] == "false");
    if (switches.contains(words[i]) && !has_value) words[i] += "=true";
  }
  return words;
}

}  // namespace

Invocation parse_invocation(const std::vector<std::string>& words, const CommandLineForm& form) {
  const std::string& positional_key = form.positional_key;
  std::vector<std::string> known;
  std::set<std::string> switches;
  po::options_description grammar;
  grammar.add_options()("help,h", "")("config", po::value<std::string>());
  for (const OptionTable* table : form.options)
    for (const auto& row : table->rows()) {
      known.push_back(row.key);
      if (row.unit == kSwitchUnit) switches.insert("--" + row.key);
      grammar.add_options()(row.key.c_str(), po::value<std::string>());
    }
  po::positional_options_description positions;
  positions.add(positional_key.empty() ? "(word)" : positional_key.c_str(), -1);

  std::vector<po::option> options;
  try {
    namespace style = po::command_line_style;
    options = po::command_line_parser(with_switches_on(words, switches))
                  .options(grammar)
                  .positional(positions)
                  .style(style::unix_style & ~style::allow_guessing & ~style::allow_sticky)
                  .allow_unregistered()
                  .run()
                  .options;
  } catch (const po::error& error) {
    throw ConfigError(fmt::format("{}: {}; write --section.key=value (an empty value can stand in a file only)",
                                  kCommandLine, error.what()));
  }

  Invocation invocation;
  for (const auto& option : options) {
    const std::string word = option.original_tokens.empty() ? option.string_key : option.original_tokens.front();
    if (option.string_key == "help") {
      invocation.help = true;
    } else if (option.string_key == "config") {
      invocation.config_files.push_back(option.value.front());
    } else if (option.string_key.empty() || (positional_key.empty() && option.position_key >= 0)) {
      throw ConfigError(
          fmt::format("{}: \"{}\" is not expected here; options are written --section.key=value", kCommandLine, word));
    } else if (option.unregistered && (!form.takes_stage_keys || word.find('=') == std::string::npos)) {
      throw ConfigError(fmt::format("{}: this command has no option --{}; the nearest it has is --{}", kCommandLine,
                                    option.string_key, nearest_key(option.string_key, known)));
    } else {
      invocation.assignments.push_back({option.string_key, option.value.empty() ? "" : option.value.front(),
                                        kCommandLine, std::numeric_limits<int>::max(), 0});
    }
  }
  std::vector<Assignment> from_files;
  int next_source = 0;
  for (const auto& file : invocation.config_files) {
    auto assignments = read_config_file(file, next_source);
    from_files.insert(from_files.end(), assignments.begin(), assignments.end());
  }
  invocation.assignments.insert(invocation.assignments.begin(), from_files.begin(), from_files.end());
  return invocation;
}

}  // namespace athanor
