#include "jobs/rl/length_stages.hpp"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "src/base/error.hpp"

namespace athanor {
namespace {

std::int64_t steps_or_tokens(std::string text, const std::string& all) {
  std::erase(text, ' ');
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    throw ConfigError(fmt::format("rl.length_stages = {}: '{}' is no number; write \"0:32, 100:64\"", all, text));
  return value;
}

}  // namespace

LengthStages::LengthStages(const std::string& text, std::int64_t longest) {
  std::stringstream list(text);
  for (std::string item; std::getline(list, item, ',');) {
    const std::size_t colon = item.find(':');
    if (colon == std::string::npos)
      throw ConfigError(fmt::format("rl.length_stages = {}: '{}' has no colon; write \"0:32, 100:64\"", text, item));
    const Stage stage{steps_or_tokens(item.substr(0, colon), text), steps_or_tokens(item.substr(colon + 1), text)};
    if (!stages_.empty() && stage.steps <= stages_.back().steps)
      throw ConfigError(fmt::format("rl.length_stages = {}: steps must rise", text));
    if (stage.tokens < 1 || stage.tokens > longest)
      throw ConfigError(fmt::format("rl.length_stages = {}: {} tokens are not from 1 to rl.max_new_tokens = {}", text,
                                    stage.tokens, longest));
    stages_.push_back(stage);
  }
  if (stages_.empty() || stages_.front().steps > 0) stages_.insert(stages_.begin(), {0, longest});
}

std::int64_t LengthStages::tokens_after(std::int64_t steps_done) const {
  std::int64_t tokens = stages_.front().tokens;
  for (const Stage& stage : stages_)
    if (stage.steps <= steps_done) tokens = stage.tokens;
  return tokens;
}

}  // namespace athanor
