#include "io/options/assignment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <fstream>
#include <sstream>

#include "src/base/error.hpp"

namespace athanor {
namespace po = boost::program_options;
namespace fs = std::filesystem;
namespace {

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

/// Boost parses one line under its section header: its grammar, and we know the line number.
std::vector<po::option> parse_line(const std::string& section, const std::string& line, const std::string& origin) {
  std::istringstream text((section.empty() ? "" : "[" + section + "]\n") + line + "\n");
  try {
    return po::parse_config_file<char>(text, po::options_description(), /*allow_unregistered=*/true).options;
  } catch (const po::error&) {
    throw ConfigError(fmt::format("{}: wanted `key = value`, `[section]` or a comment after `#`, found \"{}\"", origin,
                                  trimmed(line)));
  }
}

class Reader {
 public:
  explicit Reader(int& next_source) : next_source_(next_source) {}

  void read(const fs::path& file, const std::string& prefix, const std::string& named_at) {
    const fs::path identity = fs::weakly_canonical(file);
    if (std::find(open_.begin(), open_.end(), identity) != open_.end())
      throw ConfigError(fmt::format("{}: {} is already being read; files must not name each other in a circle",
                                    named_at, file.string()));
    std::ifstream in(file);
    if (!in || fs::is_directory(file))
      throw ConfigError(fmt::format("{}: can not read configuration file {} (working folder {})", named_at,
                                    file.string(), fs::current_path().string()));
    open_.push_back(identity);
    std::vector<Assignment> own;
    std::string section, line;
    for (int number = 1; std::getline(in, line); ++number) {
      const std::string origin = fmt::format("{}:{}", file.string(), number);
      if (const std::string text = trimmed(line.substr(0, line.find('#'))); text.starts_with('[')) {
        if (!text.ends_with(']') || text.size() < 3)
          throw ConfigError(fmt::format("{}: wanted `[section]`, found \"{}\"", origin, text));
        section = trimmed(text.substr(1, text.size() - 2));
        continue;
      }
      for (const po::option& option : parse_line(section, line, origin)) {
        const std::string value = option.value.empty() ? "" : option.value.front();
        if (option.string_key == (section.empty() ? "config" : section + ".config"))
          read(file.parent_path() / value, prefix + (section.empty() ? "" : section + "."), origin);
        else
          own.push_back({prefix + option.string_key, value, origin, 0, number});
      }
    }
    // The files it names were read meanwhile and have lower numbers: what is written here overrides them.
    const int source = next_source_++;
    for (auto& assignment : own) {
      assignment.source = source;
      found_.push_back(std::move(assignment));
    }
    open_.pop_back();
  }

  std::vector<Assignment> take() { return std::move(found_); }

 private:
  int& next_source_;
  std::vector<fs::path> open_;
  std::vector<Assignment> found_;
};

}  // namespace

std::vector<Assignment> read_config_file(const fs::path& file, int& next_source) {
  Reader reader(next_source);
  reader.read(file, "", "--config");
  return reader.take();
}

}  // namespace athanor
