#include "jobs/rl/prompt_set.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "src/base/error.hpp"

namespace athanor {
namespace {

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(' '), end = text.find_last_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

double number_of(const std::string& text, const std::string& line) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= 0.0))
    throw ConfigError("rl.prompts: '" + line + "': '" + text + "' is no number of 0 or more");
  return value;
}

PromptSetSpec parse(const std::string& line) {
  const std::size_t bar = std::min(line.find('|'), line.size()), arrow = line.find("->");
  if (arrow == std::string::npos || arrow > bar)
    throw ConfigError("rl.prompts: '" + line + "': wanted TASKS -> REWARDS, then perhaps | weight 0.5 | from 0.75");
  PromptSetSpec set{trimmed(line.substr(0, arrow)), trimmed(line.substr(arrow + 2, bar - arrow - 2))};
  for (std::size_t begin = bar; begin < line.size();) {
    const std::size_t end = std::min(line.find('|', begin + 1), line.size());
    const std::string part = trimmed(line.substr(begin + 1, end - begin - 1));
    const std::size_t blank = std::min(part.find(' '), part.size());
    const std::string key = part.substr(0, blank), value = trimmed(part.substr(blank));
    if (key == "weight")
      set.weight = number_of(value, line);
    else if (key == "from")
      set.from = number_of(value, line);
    else
      throw ConfigError("rl.prompts: '" + line + "': '" + key + "' is neither weight nor from");
    begin = end;
  }
  if (set.tasks.empty() || set.rewards.empty() || set.weight == 0.0 || set.from >= 1.0)
    throw ConfigError("rl.prompts: '" + line + "': wanted tasks, rewards, a weight above 0 and a beginning below 1");
  return set;
}

}  // namespace

std::vector<PromptSetSpec> prompt_sets(const RlOptions& options) {
  if (options.prompts.empty()) return {{options.tasks, options.rewards}};
  std::vector<PromptSetSpec> sets;
  for (const std::string& line : options.prompts) sets.push_back(parse(line));
  if (std::none_of(sets.begin(), sets.end(), [](const auto& set) { return set.from == 0.0; }))
    throw ConfigError("rl.prompts: no kind of prompts begins with the first step (from 0)");
  return sets;
}

std::vector<std::int64_t> share_prompts(const std::vector<PromptSetSpec>& sets, std::int64_t prompts,
                                        std::int64_t granule, double done) {
  double weights = 0.0;
  for (const PromptSetSpec& set : sets) weights += set.from <= done ? set.weight : 0.0;
  const std::int64_t granules = prompts / granule;
  std::vector<std::int64_t> counts(sets.size(), 0);
  std::int64_t left = granules;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (sets[i].from > done) continue;
    const auto share = static_cast<std::int64_t>(static_cast<double>(granules) * sets[i].weight / weights);
    counts[i] = std::min(left, std::max<std::int64_t>(1, share));
    left -= counts[i];
  }
  // What rounding left goes to the heaviest kinds.
  while (left > 0) {
    std::size_t heaviest = 0;
    double most = -1.0;
    for (std::size_t i = 0; i < sets.size(); ++i) {
      if (sets[i].from > done) continue;
      const double missing = static_cast<double>(granules) * sets[i].weight / weights - static_cast<double>(counts[i]);
      if (missing > most) {
        most = missing;
        heaviest = i;
      }
    }
    ++counts[heaviest];
    --left;
  }
  for (std::int64_t& count : counts) count *= granule;
  return counts;
}

}  // namespace athanor
