// Things chosen by name with options, as users write them in configurations: `NAME[:SUBJECT][:key=value]...[ @
// WEIGHT]`, several separated by commas: "arithmetic:level=2 @ 3, countdown". Options may also stand in parentheses,
// separated by commas: "jsonl:problems.jsonl(name=mine, language=en)". Law: an option nobody asks for is an error,
// never ignored.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

struct NamedSpec {
  std::string text;  ///< as written, for messages
  std::string name;
  std::string subject{};  ///< what the thing is about where that is no option: a file
  std::map<std::string, std::string> options{};
  double weight = 1.0;
};

/// @param what  of what kind the thing is ("reward", "task"): begins error messages.
/// @throws ConfigError when a name is missing, an option has no '=' or comes twice, a parenthesis is not closed, or a
/// weight is no finite number.
NamedSpec parse_named_spec(std::string_view text, std::string_view what);
/// @throws ConfigError also when there is none.
std::vector<NamedSpec> parse_named_specs(std::string_view text, std::string_view what);

/// The options of a spec, converted. Ask for each the thing has, then call `finish`.
class SpecOptions {
 public:
  SpecOptions(const NamedSpec& spec, std::string_view what) : spec_(spec), what_(what) {}

  /// @throws ConfigError when there is none. @param wanted  what it names: "FILE".
  std::string subject(std::string_view wanted);
  /// Any text.
  std::string text(const std::string& key, std::string_view otherwise);
  /// @throws ConfigError naming spec, key and range for what is no number from min to max.
  double number(const std::string& key, double otherwise, double min, double max);
  std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t min, std::int64_t max);
  /// One of `allowed`.
  std::string word(const std::string& key, std::string_view otherwise, std::span<const std::string> allowed);
  /// @throws ConfigError naming an option that was given and never asked for, with those there are.
  void finish() const;
  /// "reward cosine:max_len=x: MESSAGE", to be thrown for values that do not go together.
  [[noreturn]] void refuse(std::string_view message) const;

 private:
  const std::string* find(const std::string& key);

  const NamedSpec& spec_;
  const std::string what_;
  std::set<std::string> asked_;
  bool asked_subject_ = false;
};

}  // namespace athanor
