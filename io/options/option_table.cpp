#include "io/options/option_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <cmath>
#include <sstream>

#include "src/base/error.hpp"
#include "src/base/nearest_name.hpp"

namespace athanor {
namespace po = boost::program_options;
namespace {

constexpr unsigned kHelpWidth = 110;

[[noreturn]] void refuse() { throw po::validation_error(po::validation_error::invalid_option_value); }

/// "90", "1:30" (minutes), "01:30:00" or "2-00:00:00" (Slurm's days) as seconds.
double parse_duration(const std::string& text) {
  std::string rest = text;
  double days = 0;
  const auto number = [](std::string_view part) {
    double value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || !std::isfinite(value) || value < 0) refuse();
    return value;
  };
  if (const auto dash = rest.find('-'); dash != std::string::npos) {
    days = number(std::string_view(rest).substr(0, dash));
    rest = rest.substr(dash + 1);
  }
  double seconds = 0;
  int parts = 0;
  for (std::size_t begin = 0; begin <= rest.size(); ++parts) {
    const auto end = std::min(rest.find(':', begin), rest.size());
    seconds = seconds * 60 + number(std::string_view(rest).substr(begin, end - begin));
    begin = end + 1;
  }
  if (parts > 3 || (days > 0 && parts != 3)) refuse();
  return seconds + days * 86400;
}

std::string range_text(const Range& range, const char* kind) {
  const bool below = range.min > kAnyNumber.min, above = range.max < kAnyNumber.max;
  if (below && above) return fmt::format("{} from {} to {}", kind, range.min, range.max);
  if (below) return fmt::format("{} of at least {}", kind, range.min);
  return kind;
}

}  // namespace

struct OptionTable::Implementation {
  struct Binding {
    boost::shared_ptr<po::option_description> description;
    std::function<std::vector<std::string>()> get;
    std::string allowed;  ///< "a number of at least 0"
    /// Extra demands on the text and on the value stored from it; what Boost's conversion would let through.
    std::function<bool(const std::string&)> text_is_good;
    std::function<bool()> value_is_good;
  };
  struct Section {
    std::string name, title;
  };
  std::vector<OptionRow> rows;
  std::vector<Binding> bindings;
  std::vector<Section> sections;

  /// Adds a row of the present section. `value` is Boost's typed value bound to the field.
  void add(std::string name, std::string unit, std::string help, bool is_list, po::value_semantic* value,
           Binding binding) {
    const std::string section = sections.empty() ? "" : sections.back().name;
    OptionRow row{section.empty() ? name : section + "." + name, std::move(unit), std::move(help), "", is_list};
    row.default_text = fmt::format("{}", fmt::join(binding.get(), ", "));
    binding.description =
        boost::shared_ptr<po::option_description>(new po::option_description(row.key.c_str(), value, row.help.c_str()));
    rows.push_back(std::move(row));
    bindings.push_back(std::move(binding));
  }

  template <class T>
  void add_number(std::string name, T& field, std::string unit, std::string help, Range range, const char* kind) {
    Binding binding;
    binding.get = [&field] { return std::vector{fmt::format("{}", field)}; };
    binding.allowed = range_text(range, kind);
    binding.text_is_good = [](const std::string& text) { return std::is_signed_v<T> || !text.starts_with('-'); };
    binding.value_is_good = [&field, range] {
      const auto value = static_cast<double>(field);
      return std::isfinite(value) && value >= range.min && value <= range.max;
    };
    auto* value = po::value<T>(&field)->value_name(unit);
    value->default_value(field, fmt::format("{}", field));
    add(std::move(name), std::move(unit), std::move(help), false, value, std::move(binding));
  }

  std::size_t index(std::string_view key) const {
    const auto at = std::find_if(rows.begin(), rows.end(), [&](const OptionRow& row) { return row.key == key; });
    return static_cast<std::size_t>(at - rows.begin());
  }
};

OptionTable::OptionTable() : implementation_(std::make_unique<Implementation>()) {}
OptionTable::~OptionTable() = default;
OptionTable::OptionTable(OptionTable&&) noexcept = default;
OptionTable& OptionTable::operator=(OptionTable&&) noexcept = default;

void OptionTable::section(std::string name, std::string title) {
  implementation_->sections.push_back({std::move(name), std::move(title)});
}

void OptionTable::add(std::string name, std::int64_t& field, std::string unit, std::string help, Range range) {
  implementation_->add_number(std::move(name), field, std::move(unit), std::move(help), range, "a whole number");
}
void OptionTable::add(std::string name, int& field, std::string unit, std::string help, Range range) {
  implementation_->add_number(std::move(name), field, std::move(unit), std::move(help), range, "a whole number");
}
void OptionTable::add(std::string name, std::uint64_t& field, std::string unit, std::string help) {
  implementation_->add_number(std::move(name), field, std::move(unit), std::move(help), kNotNegative, "a whole number");
}
void OptionTable::add(std::string name, double& field, std::string unit, std::string help, Range range) {
  implementation_->add_number(std::move(name), field, std::move(unit), std::move(help), range, "a number");
}

void OptionTable::add(std::string name, bool& field, std::string help) {
  Implementation::Binding binding;
  binding.get = [&field] { return std::vector<std::string>{field ? "true" : "false"}; };
  binding.allowed = "true or false";
  auto* value = po::value<bool>(&field)->value_name(kSwitchUnit);
  value->default_value(field, field ? "true" : "false");
  implementation_->add(std::move(name), kSwitchUnit, std::move(help), false, value, std::move(binding));
}

void OptionTable::add(std::string name, Duration& field, std::string help) {
  Implementation::Binding binding;
  binding.get = [&field] { return std::vector{fmt::format("{}", field.seconds)}; };
  binding.allowed = "seconds, minutes:seconds, hours:minutes:seconds or days-hours:minutes:seconds";
  auto* value = po::value<std::string>()->value_name("time")->notifier(
      [&field](const std::string& text) { field.seconds = parse_duration(text); });
  value->default_value(fmt::format("{}", field.seconds));
  implementation_->add(std::move(name), "time", std::move(help), false, value, std::move(binding));
}

void OptionTable::add(std::string name, std::string& field, std::string unit, std::string help) {
  Implementation::Binding binding;
  binding.get = [&field] { return std::vector{field}; };
  binding.allowed = "one text";
  auto* value = po::value<std::string>(&field)->value_name(unit);
  if (!field.empty()) value->default_value(field);
  implementation_->add(std::move(name), std::move(unit), std::move(help), false, value, std::move(binding));
}

void OptionTable::add(std::string name, std::vector<std::string>& field, std::string unit, std::string help) {
  Implementation::Binding binding;
  binding.get = [&field] { return field; };
  binding.allowed = "a text";
  auto* value = po::value<std::vector<std::string>>(&field)->composing()->value_name(unit);
  if (!field.empty()) value->default_value(field, fmt::format("{}", fmt::join(field, ", ")));
  implementation_->add(std::move(name), std::move(unit), std::move(help), true, value, std::move(binding));
}

void OptionTable::add(std::string name, DType& field, std::string help) {
  add_choice(std::move(name), field, {{"f32", DType::f32}, {"bf16", DType::bf16}, {"f64", DType::f64}},
             std::move(help));
}

void OptionTable::add_word(std::string name, std::vector<std::string> words, std::string help,
                           std::function<void(std::size_t)> choose, std::function<std::size_t()> chosen) {
  const std::string unit = fmt::format("{}", fmt::join(words, "|"));
  Implementation::Binding binding;
  binding.get = [words, chosen] { return std::vector{words.at(chosen())}; };
  binding.allowed = fmt::format("one of {}", fmt::join(words, ", "));
  auto* value = po::value<std::string>()->value_name(unit)->notifier([words, choose](const std::string& text) {
    const auto at = std::find(words.begin(), words.end(), text);
    if (at == words.end()) refuse();
    choose(static_cast<std::size_t>(at - words.begin()));
  });
  value->default_value(words.at(chosen()));
  implementation_->add(std::move(name), unit, std::move(help), false, value, std::move(binding));
}

const std::vector<OptionRow>& OptionTable::rows() const { return implementation_->rows; }

const OptionRow* OptionTable::find(std::string_view key) const {
  const std::size_t index = implementation_->index(key);
  return index < implementation_->rows.size() ? &implementation_->rows[index] : nullptr;
}

void OptionTable::set(std::string_view key, const std::vector<std::string>& values, std::string_view origin) {
  const std::size_t index = implementation_->index(key);
  if (index == implementation_->rows.size()) throw Error(fmt::format("OptionTable::set: no option {}", key));
  const OptionRow& row = implementation_->rows[index];
  const auto& binding = implementation_->bindings[index];
  const auto bad = [&] {
    return ConfigError(
        fmt::format("{}: {} = {}: wanted {} ({})", origin, key, fmt::join(values, ", "), binding.allowed, row.help));
  };
  po::options_description described;
  described.add(binding.description);
  po::parsed_options parsed(&described);
  po::option option(std::string(key), values);
  option.position_key = -1;
  parsed.options.push_back(option);
  try {
    for (const auto& text : values)
      if (binding.text_is_good && !binding.text_is_good(text)) throw bad();
    po::variables_map map;
    po::store(parsed, map);
    po::notify(map);
  } catch (const po::error&) {
    throw bad();
  }
  if (binding.value_is_good && !binding.value_is_good()) throw bad();
}

std::vector<std::string> OptionTable::get(std::string_view key) const {
  const std::size_t index = implementation_->index(key);
  if (index == implementation_->rows.size()) throw Error(fmt::format("OptionTable::get: no option {}", key));
  return implementation_->bindings[index].get();
}

std::string OptionTable::help(const std::vector<std::string>& sections) const {
  std::ostringstream out;
  for (const auto& section : implementation_->sections) {
    if (!sections.empty() && std::find(sections.begin(), sections.end(), section.name) == sections.end()) continue;
    po::options_description shown(section.title, kHelpWidth, kHelpWidth / 2);
    for (std::size_t i = 0; i < implementation_->rows.size(); ++i) {
      const std::string_view key = implementation_->rows[i].key;
      const bool bare = key.find('.') == std::string_view::npos;
      if (bare ? section.name.empty() : implementation_->rows[i].section() == section.name)
        shown.add(implementation_->bindings[i].description);
    }
    out << shown << "\n";
  }
  return out.str();
}

std::string nearest_key(std::string_view key, const std::vector<std::string>& known) {
  const auto name = [](std::string_view text) { return text.substr(text.rfind('.') + 1); };
  std::string best;
  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const auto& candidate : known) {
    std::size_t distance = edit_distance(key, candidate);
    if (name(key) == name(candidate)) distance = std::min<std::size_t>(distance, 2);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace athanor
