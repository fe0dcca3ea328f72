#include "io/checkpoint/checkpoint_folder.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>

#include "io/checkpoint/durable.hpp"
#include "src/base/error.hpp"

namespace athanor::checkpoint_folder {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_";

void move_entry(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::rename(from, to, failed);
  if (failed) throw DataError("renaming " + from.string() + " to " + to.string() + " failed: " + failed.message());
}

/// A copy, so that entries may be renamed while it is walked.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(folder, missing)) paths.push_back(entry.path());
  return paths;
}

void remove_aside(const fs::path& checkpoint) {
  const fs::path aside = checkpoint.string() + ".removed";
  move_entry(checkpoint, aside);
  fs::remove_all(aside);
}

}  // namespace

std::string step_name(std::int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

std::int64_t step_of(const fs::path& checkpoint) {
  const std::string name = checkpoint.filename().string();
  if (!name.starts_with(kPrefix)) return -1;
  std::int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  return error == std::errc() && stopped == end ? step : -1;
}

std::vector<fs::path> finished(const fs::path& folder) {
  auto found = entries_of(folder);
  std::erase_if(found, [](const fs::path& path) { return step_of(path) < 0 || !fs::is_directory(path); });
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return step_of(a) < step_of(b); });
  return found;
}

void recover(const fs::path& folder) {
  for (const fs::path& path : entries_of(folder)) {
    fs::path place = path;
    place.replace_extension();
    if (step_of(place) < 0) continue;
    if (path.extension() == ".old" && !fs::exists(place))
      move_entry(path, place);
    else if (path.extension() == ".old" || path.extension() == ".tmp" || path.extension() == ".removed")
      fs::remove_all(path);
  }
}

void commit(const fs::path& folder, const fs::path& temporary, std::int64_t step) {
  for (const fs::path& other : finished(folder)) {
    if (step_of(other) <= step) continue;
    const fs::path aside = other.string() + ".abandoned";
    spdlog::warn("checkpoint {} is set aside as {}: the run went back and is now at step {}", other.filename().string(),
                 aside.filename().string(), step);
    fs::remove_all(aside);
    move_entry(other, aside);
  }
  const fs::path place = folder / step_name(step), old = place.string() + ".old";
  const bool replaces = fs::exists(place);
  if (replaces) move_entry(place, old);
  move_entry(temporary, place);
  sync_folder(folder);
  replace_text_file(folder / "latest", step_name(step) + "\n");
  if (replaces) fs::remove_all(old);
}

void remove_all_but(const fs::path& folder, std::int64_t keep_last) {
  if (keep_last <= 0) return;
  const auto checkpoints = finished(folder);
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep_last) < checkpoints.size(); ++i) try {
      remove_aside(checkpoints[i]);
    } catch (const std::exception& error) {
      spdlog::warn("the old checkpoint {} cannot be deleted: {}", checkpoints[i].string(), error.what());
    }
}

}  // namespace athanor::checkpoint_folder
