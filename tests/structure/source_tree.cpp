#include "tests/structure/source_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <string_view>

namespace athanor::structure {
namespace fs = std::filesystem;
namespace {

constexpr std::array<std::string_view, 4> kFloors{"src", "parallel", "io", "jobs"};
constexpr int kLongestFile = 450;
constexpr int kLongestReadme = 60;

std::optional<std::size_t> floor_of(std::string_view path) {
  for (std::size_t floor = 0; floor < kFloors.size(); ++floor)
    if (path.starts_with(std::string(kFloors[floor]) + "/")) return floor;
  return std::nullopt;
}

bool is_source(const fs::path& path) {
  static const std::set<std::string> kExtensions{".hpp", ".cpp", ".cuh", ".cu"};
  return kExtensions.contains(path.extension().string());
}

/// Source files of the four floors, as paths from the root, sorted.
std::vector<fs::path> sources(const fs::path& root) {
  std::vector<fs::path> found;
  for (const auto floor : kFloors) {
    if (!fs::exists(root / floor)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / floor))
      if (entry.is_regular_file() && is_source(entry.path())) found.push_back(fs::relative(entry.path(), root));
  }
  std::sort(found.begin(), found.end());
  return found;
}

void for_each_line(const fs::path& file, const std::function<void(int, const std::string&)>& use) {
  std::ifstream in(file);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) use(number, line);
}

struct Include {
  int line;
  bool quoted;
  std::string path;
};

std::vector<Include> includes(const fs::path& file) {
  std::vector<Include> found;
  for_each_line(file, [&](int number, const std::string& line) {
    const auto begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos || line[begin] != '#') return;
    const auto word = line.find("include", begin);
    const auto open = line.find_first_of("\"<", begin);
    if (word == std::string::npos || open == std::string::npos || word > open) return;
    const auto close = line.find_first_of("\">", open + 1);
    if (close != std::string::npos)
      found.push_back({number, line[open] == '"', line.substr(open + 1, close - open - 1)});
  });
  return found;
}

bool below(const fs::path& file, std::initializer_list<std::string_view> folders) {
  const std::string path = file.generic_string();
  return std::any_of(folders.begin(), folders.end(),
                     [&](std::string_view folder) { return path.starts_with(std::string(folder) + "/"); });
}

}  // namespace

Violations upward_includes(const fs::path& root) {
  Violations violations;
  for (const auto& file : sources(root)) {
    const auto own = floor_of(file.generic_string());
    for (const auto& include : includes(root / file)) {
      const auto other = floor_of(include.path);
      if (include.quoted && !other)
        violations.push_back(
            fmt::format("{}:{}: \"{}\" is no path from the root", file.string(), include.line, include.path));
      if (other && *other > *own)
        violations.push_back(
            fmt::format("{}:{}: {} must not include {}", file.string(), include.line, kFloors[*own], include.path));
    }
  }
  return violations;
}

Violations foreign_includes(const fs::path& root) {
  struct Rule {
    std::string_view begins_with;
    std::initializer_list<std::string_view> allowed_in;
  };
  static const std::array kRules{Rule{"mpi.h", {"parallel", "tests"}},
                                 Rule{"mpi-ext.h", {"parallel"}},
                                 Rule{"nccl", {"parallel"}},
                                 Rule{"hdf5", {"io"}},
                                 Rule{"H5", {"io"}},
                                 Rule{"boost/", {"io/options"}},
                                 Rule{"oneapi/dnnl", {"src/backend/cpu"}},
                                 Rule{"dnnl", {"src/backend/cpu"}},
                                 Rule{"cuda", {"src/backend", "parallel"}},
                                 Rule{"cublas", {"src/backend/cuda"}}};
  Violations violations;
  for (const auto& file : sources(root))
    for (const auto& include : includes(root / file))
      for (const auto& rule : kRules)
        if (!include.quoted && include.path.starts_with(rule.begins_with) && !below(file, rule.allowed_in))
          violations.push_back(
              fmt::format("{}:{}: <{}> does not belong here", file.string(), include.line, include.path));
  return violations;
}

Violations stray_unsafe_data(const fs::path& root) {
  Violations violations;
  for (const auto& file : sources(root)) {
    if (below(file, {"src/backend", "parallel/mpi", "parallel/nccl"})) continue;
    for_each_line(root / file, [&](int number, const std::string& line) {
      if (line.find("unsafe_data") != std::string::npos)
        violations.push_back(
            fmt::format("{}:{}: unsafe_data outside operations and communicators", file.string(), number));
    });
  }
  return violations;
}

Violations file_forms(const fs::path& root) {
  Violations violations;
  for (const auto& file : sources(root)) {
    int lines = 0;
    bool guarded = false;
    for_each_line(root / file, [&](int number, const std::string& line) {
      lines = number;
      guarded = guarded || line == "#pragma once";
    });
    if (file.extension() == ".hpp" && !guarded)
      violations.push_back(file.string() + ":1: a header without #pragma once");
    if (lines > kLongestFile)
      violations.push_back(
          fmt::format("{}:{}: longer than {} lines; split it by subject", file.string(), lines, kLongestFile));
  }
  return violations;
}

Violations top_level(const fs::path& root) {
  static const std::set<std::string> kAllowed{"CMakeLists.txt", "README.md", "LICENSE", "src", "parallel", "io",
                                              "jobs",           "configs",   "tests"};
  Violations violations;
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    const bool untracked =
        name.starts_with('.') || name.starts_with("build") || name == "runs" || name == "compile_commands.json";
    if (!untracked && !kAllowed.contains(name)) violations.push_back(name + ": does not belong to the top level");
  }
  return violations;
}

Violations long_readmes(const fs::path& root) {
  Violations violations;
  for (const std::string folder : {"src", "parallel", "io", "jobs", "configs", "tests"}) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.path().filename() != "README.md") continue;
      int lines = 0;
      for_each_line(entry.path(), [&](int number, const std::string&) { lines = number; });
      if (lines > kLongestReadme)
        violations.push_back(
            fmt::format("{}: {} lines, at most {}", fs::relative(entry.path(), root).string(), lines, kLongestReadme));
    }
  }
  return violations;
}

}  // namespace athanor::structure
