#include "io/options/configuration.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr const char* kStageList = "recipe.stage";
constexpr int kCommandLineSource = std::numeric_limits<int>::max();

/// All keys a stage's section may hold, shared ones and its own.
struct Schema {
  JobOptions job;
  StageOptions stage;
  OptionTable job_table, stage_table;
  Schema() {
    describe(job_table, job);
    describe(stage_table, stage);
  }
  const OptionRow* find(std::string_view key) const {
    const OptionRow* row = job_table.find(key);
    return row ? row : stage_table.find(key);
  }
};

std::string joined(const std::vector<std::string>& values) { return fmt::format("{}", fmt::join(values, ", ")); }

std::string file_line(std::string_view key, const std::string& value, const std::string& origin) {
  if (value.find_first_of("#\n\r") != std::string::npos)
    throw ConfigError(fmt::format("{}: {} = {}: a value must not contain '#' or a line break", origin, key, value));
  return fmt::format("{:<40} # {}\n", fmt::format("{} = {}", key, value), origin);
}

}  // namespace

Configuration::Configuration(std::vector<Assignment> assignments, const OptionTable& others)
    : assignments_(std::move(assignments)) {
  for (const Assignment* assignment : winners(kStageList, "", true)) stages_.push_back(assignment->value);
  check_stages();
  check_keys(others);
  // Converting every value now finds a bad one before any work is done, also in a stage that comes late.
  job();
  for (const auto& name : stages_) {
    job(name);
    stage(name);
  }
}

std::vector<std::string> Configuration::lineage(std::string_view stage) const {
  std::vector<std::string> names{std::string(stage)};
  for (auto at = std::find(stages_.begin(), stages_.end(), stage); at != stages_.end();) {
    const auto init = winners("init", *at, false);
    if (init.empty()) break;
    // An earlier stage alone, so there is no circle.
    const auto parent = std::find(stages_.begin(), at, init.front()->value);
    if (parent == at) break;
    names.push_back(*parent);
    at = parent;
  }
  return names;
}

std::vector<const Assignment*> Configuration::winners(std::string_view key, std::string_view stage,
                                                      bool is_list) const {
  // Keys under which a stage is told, the nearest first.
  std::vector<std::string> stage_keys;
  if (!stage.empty()) {
    stage_keys.push_back(fmt::format("{}.{}", stage, key));
    if (key.starts_with("model."))
      for (const std::string& name : lineage(stage))
        if (name != stage) stage_keys.push_back(fmt::format("{}.{}", name, key));
  }
  const auto nearness = [&](const Assignment& assignment) {
    return stage_keys.end() - std::find(stage_keys.begin(), stage_keys.end(), assignment.key);
  };
  const auto rank = [&](const Assignment& assignment) {
    return std::tuple(assignment.source == kCommandLineSource, nearness(assignment), assignment.source);
  };
  std::vector<const Assignment*> best;
  for (const Assignment& assignment : assignments_) {
    if (nearness(assignment) == 0 && assignment.key != key) continue;
    if (!best.empty() && rank(assignment) < rank(*best.front())) continue;
    if (!is_list || (!best.empty() && rank(*best.front()) < rank(assignment))) best.clear();
    best.push_back(&assignment);
  }
  return best;
}

void Configuration::check_stages() const {
  Schema schema;
  std::set<std::string> sections{"recipe"};
  for (const auto& row : schema.job_table.rows()) sections.insert(std::string(row.section()));
  std::set<std::string> seen;
  for (const Assignment* assignment : winners(kStageList, "", true)) {
    const std::string& name = assignment->value;
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '-';
    });
    if (!plain)
      throw ConfigError(
          fmt::format("{}: stage = {}: wanted a name of letters, digits, - and _", assignment->origin, name));
    if (sections.contains(name))
      throw ConfigError(fmt::format("{}: stage = {}: section [{}] has another meaning; choose another name",
                                    assignment->origin, name, name));
    if (!seen.insert(name).second)
      throw ConfigError(fmt::format("{}: stage = {}: this stage is already in the list", assignment->origin, name));
    const bool has_section = std::any_of(assignments_.begin(), assignments_.end(),
                                         [&](const Assignment& a) { return a.key == name + ".kind"; });
    if (!has_section)
      throw ConfigError(
          fmt::format("{}: stage = {}: there is no section [{}] with `kind = ...`", assignment->origin, name, name));
  }
}

void Configuration::check_keys(const OptionTable& others) {
  Schema schema;
  std::vector<std::string> known{kStageList};
  for (const auto& row : schema.job_table.rows()) known.push_back(row.key);
  for (const auto& row : others.rows()) known.push_back(row.key);
  for (const auto& name : stages_) {
    for (const auto& row : schema.stage_table.rows()) known.push_back(name + "." + row.key);
    for (const auto& row : schema.job_table.rows()) known.push_back(name + "." + row.key);
  }
  const std::set<std::string> known_set(known.begin(), known.end());
  std::map<std::pair<int, std::string>, const Assignment*> first;
  for (const auto& assignment : assignments_) {
    if (!known_set.contains(assignment.key)) {
      std::string hint;
      const std::string section = assignment.key.substr(0, assignment.key.find('.'));
      const bool is_section = std::any_of(known.begin(), known.end(),
                                          [&](const std::string& key) { return key.starts_with(section + "."); });
      if (!is_section && section != assignment.key)
        hint = fmt::format(" ([{}] is no section, and no stage named in [recipe])", section);
      throw ConfigError(fmt::format("{}: unknown key {}{}; the nearest is {}", assignment.origin, assignment.key, hint,
                                    nearest_key(assignment.key, known)));
    }
    const bool is_list = [&] {
      if (assignment.key == kStageList) return true;
      const OptionRow* row = schema.find(assignment.key);
      if (!row) row = others.find(assignment.key);
      if (!row) row = schema.find(std::string_view(assignment.key).substr(assignment.key.find('.') + 1));
      return row && row->is_list;
    }();
    const auto [at, is_new] = first.try_emplace({assignment.source, assignment.key}, &assignment);
    if (!is_new && !is_list && assignment.source != kCommandLineSource)
      throw ConfigError(fmt::format("{}: {} is given twice; it already stands at {}", assignment.origin, assignment.key,
                                    at->second->origin));
  }
}

void Configuration::apply(OptionTable& table, std::string_view stage) const {
  for (const auto& row : table.rows()) {
    const auto found = winners(row.key, stage, row.is_list);
    if (found.empty()) continue;
    std::vector<std::string> values;
    for (const Assignment* assignment : found) values.push_back(assignment->value);
    table.set(row.key, values, found.front()->origin);
  }
}

JobOptions Configuration::job(std::string_view stage) const {
  JobOptions job;
  OptionTable table;
  describe(table, job);
  apply(table, stage);
  return job;
}

StageOptions Configuration::stage(std::string_view name) const {
  StageOptions stage;
  OptionTable table;
  describe(table, stage);
  apply(table, name);
  return stage;
}

std::string Configuration::origin(std::string_view key, std::string_view stage) const {
  const auto found = winners(key, stage, false);
  return found.empty() ? "default" : found.front()->origin;
}

void Configuration::validate(std::string_view stage) const {
  const Schema schema;
  try {
    job(stage).model.validate();
  } catch (const ConfigError& error) {
    std::string message = error.what();
    for (const auto& row : schema.job_table.rows())
      if (const std::string_view text = error.what(); text.find(row.key) != std::string_view::npos)
        message += fmt::format("\n  {} was set at: {}", row.key, origin(row.key, stage));
    throw ConfigError(message);
  }
}

std::map<std::string, std::string> Configuration::values(std::string_view stage) const {
  Schema schema;
  std::map<std::string, std::string> values;
  apply(schema.job_table, stage);
  for (const auto& row : schema.job_table.rows()) values[row.key] = joined(schema.job_table.get(row.key));
  if (stage.empty()) return values;
  apply(schema.stage_table, stage);
  for (const auto& row : schema.stage_table.rows()) values[row.key] = joined(schema.stage_table.get(row.key));
  return values;
}

std::string Configuration::text() const {
  std::string text = "[recipe]\n";
  for (const Assignment* assignment : winners(kStageList, "", true))
    text += file_line("stage", assignment->value, assignment->origin);

  Schema shared;
  apply(shared.job_table);
  std::string section;
  for (const auto& row : shared.job_table.rows()) {
    if (row.section() != section) {
      section = row.section();
      text += fmt::format("\n[{}]\n", section);
    }
    const std::string name = row.key.substr(section.size() + 1);
    const auto values = shared.job_table.get(row.key);
    if (values.empty() || (values.size() == 1 && values.front().empty()))
      text += fmt::format("# {} is empty\n", name);
    else
      for (const auto& value : values) text += file_line(name, value, origin(row.key));
  }
  for (const auto& name : stages_) {
    text += fmt::format("\n[{}]\n", name);
    Schema own;
    apply(own.stage_table, name);
    apply(own.job_table, name);
    for (const auto& row : own.stage_table.rows())
      for (const auto& value : own.stage_table.get(row.key))
        if (!value.empty()) text += file_line(row.key, value, origin(row.key, name));
    // Only what differs from the shared sections, or from the model of the stage it begins from: one written value has
    // one place.
    const auto line = lineage(name);
    Schema parent;
    apply(parent.job_table, line.size() > 1 ? line[1] : "");
    for (const auto& row : own.job_table.rows()) {
      const auto values = own.job_table.get(row.key);
      if (values == (row.key.starts_with("model.") ? parent : shared).job_table.get(row.key)) continue;
      for (const auto& value : values) text += file_line(row.key, value, origin(row.key, name));
    }
  }
  return text;
}

}  // namespace athanor
