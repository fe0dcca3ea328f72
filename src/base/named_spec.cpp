#include "src/base/named_spec.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"

namespace athanor {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

template <class Number>
std::optional<Number> to_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Where `sign` stands outside parentheses, from the left; npos: nowhere.
std::size_t find_outside(std::string_view text, char sign) {
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == sign && depth == 0) return i;
    depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
  }
  return std::string_view::npos;
}

void add_option(NamedSpec& spec, std::string_view part, std::string_view what) {
  const std::size_t equals = part.find('=');
  if (equals == std::string_view::npos || equals == 0)
    throw ConfigError(fmt::format("{} '{}': '{}' is no option; write key=value", what, spec.text, part));
  const std::string key(trimmed(part.substr(0, equals)));
  if (!spec.options.emplace(key, trimmed(part.substr(equals + 1))).second)
    throw ConfigError(fmt::format("{} '{}': option {} is given twice", what, spec.text, key));
}

/// NAME[:SUBJECT][:key=value]...
void parse_head(NamedSpec& spec, std::string_view head, std::string_view what) {
  for (int number = 0;; ++number) {
    const std::size_t colon = head.find(':');
    const std::string_view part = trimmed(head.substr(0, colon));
    if (number == 0)
      spec.name = part;
    else if (number == 1 && !part.empty() && part.find('=') == std::string_view::npos)
      spec.subject = part;
    else
      add_option(spec, part, what);
    if (colon == std::string_view::npos) break;
    head.remove_prefix(colon + 1);
  }
  if (spec.name.empty()) throw ConfigError(fmt::format("{} '{}': no name; write NAME[:key=value]...", what, spec.text));
}

}  // namespace

NamedSpec parse_named_spec(std::string_view text, std::string_view what) {
  NamedSpec spec;
  spec.text = trimmed(text);
  std::string_view rest = spec.text;
  const std::size_t closing = rest.rfind(')');
  if (const std::size_t at = rest.rfind('@');
      at != std::string_view::npos && (closing == std::string_view::npos || at > closing)) {
    const std::string_view number = trimmed(rest.substr(at + 1));
    const auto weight = to_number<double>(number);
    if (!weight || !std::isfinite(*weight))
      throw ConfigError(fmt::format("{} '{}': '{}' is no weight; write NAME @ NUMBER", what, spec.text, number));
    spec.weight = *weight;
    rest = trimmed(rest.substr(0, at));
  }
  const std::size_t opening = rest.find('(');
  if ((opening == std::string_view::npos) != (closing == std::string_view::npos) ||
      (opening != std::string_view::npos && !rest.ends_with(')')))
    throw ConfigError(fmt::format("{} '{}': parentheses do not match; write NAME(key=value, ...)", what, spec.text));
  parse_head(spec, rest.substr(0, opening), what);
  if (opening == std::string_view::npos) return spec;
  rest = trimmed(rest.substr(opening + 1, rest.size() - opening - 2));
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    add_option(spec, trimmed(rest.substr(0, comma)), what);
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
  }
  return spec;
}

std::vector<NamedSpec> parse_named_specs(std::string_view text, std::string_view what) {
  std::vector<NamedSpec> specs;
  for (;;) {
    const std::size_t comma = find_outside(text, ',');
    specs.push_back(parse_named_spec(text.substr(0, comma), what));
    if (comma == std::string_view::npos) return specs;
    text.remove_prefix(comma + 1);
  }
}

const std::string* SpecOptions::find(const std::string& key) {
  asked_.insert(key);
  const auto found = spec_.options.find(key);
  return found == spec_.options.end() ? nullptr : &found->second;
}

std::string SpecOptions::subject(std::string_view wanted) {
  asked_subject_ = true;
  if (spec_.subject.empty()) refuse(fmt::format("wanted {0}; write {1}:{0}", wanted, spec_.name));
  return spec_.subject;
}

std::string SpecOptions::text(const std::string& key, std::string_view otherwise) {
  const std::string* text = find(key);
  return text == nullptr ? std::string(otherwise) : *text;
}

double SpecOptions::number(const std::string& key, double otherwise, double min, double max) {
  const std::string* text = find(key);
  if (text == nullptr) return otherwise;
  const auto number = to_number<double>(*text);
  if (!number || !(*number >= min && *number <= max))
    refuse(fmt::format("{}={} is no number from {} to {}", key, *text, min, max));
  return *number;
}

std::int64_t SpecOptions::integer(const std::string& key, std::int64_t otherwise, std::int64_t min, std::int64_t max) {
  const std::string* text = find(key);
  if (text == nullptr) return otherwise;
  const auto number = to_number<std::int64_t>(*text);
  if (!number || *number < min || *number > max)
    refuse(fmt::format("{}={} is no whole number from {} to {}", key, *text, min, max));
  return *number;
}

std::string SpecOptions::word(const std::string& key, std::string_view otherwise,
                              std::span<const std::string> allowed) {
  const std::string* text = find(key);
  if (text == nullptr) return std::string(otherwise);
  if (std::find(allowed.begin(), allowed.end(), *text) == allowed.end())
    refuse(fmt::format("{}={} is not one of {}", key, *text, fmt::join(allowed, ", ")));
  return *text;
}

void SpecOptions::finish() const {
  if (!spec_.subject.empty() && !asked_subject_)
    refuse(fmt::format("'{}' is no option; write key=value", spec_.subject));
  for (const auto& [key, value] : spec_.options)
    if (!asked_.contains(key)) refuse("option " + unknown_name(key, std::vector(asked_.begin(), asked_.end())));
}

void SpecOptions::refuse(std::string_view message) const {
  throw ConfigError(fmt::format("{} '{}': {}", what_, spec_.text, message));
}

}  // namespace athanor
