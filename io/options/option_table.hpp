// Binds plain structs to option names, once: name, default (the field's initial value), unit, help. Everything the
// program says about an option (help, errors, the resolved configuration) comes from its row here.
// Law: the structs live in src and know nothing of options; Boost.Program_options converts the text and stays inside
// option_table.cpp. A table refers to the structs it was filled from and must not outlive them.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/dtype.hpp"

namespace athanor {

/// Numbers an option may take; both ends included.
struct Range {
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
};
inline constexpr Range kAnyNumber{};
inline constexpr Range kNotNegative{0.0};
inline constexpr Range kPositive{1.0};  ///< counts
inline constexpr Range kFraction{0.0, 1.0};

/// A span of time. Written as seconds ("90") or as Slurm writes it ("1:30", "01:30:00").
struct Duration {
  double seconds = 0.0;
};

/// Unit of a switch; on the command line its name alone means true.
inline constexpr const char* kSwitchUnit = "true|false";

struct OptionRow {
  std::string key;   ///< "optimizer.lr"
  std::string unit;  ///< "steps", "seconds", "f32|bf16|f64"
  std::string help;
  std::string default_text;  ///< as the user would write it; items of a list separated by ", "
  bool is_list = false;

  std::string_view section() const { return std::string_view(key).substr(0, key.find('.')); }
};

class OptionTable {
 public:
  OptionTable();
  ~OptionTable();
  OptionTable(OptionTable&&) noexcept;
  OptionTable& operator=(OptionTable&&) noexcept;

  /// Rows added from here on are `name.…`. `title` heads them in the help. An empty name: rows without a section.
  void section(std::string name, std::string title);

  void add(std::string name, std::int64_t& field, std::string unit, std::string help, Range range = kNotNegative);
  void add(std::string name, int& field, std::string unit, std::string help, Range range = kNotNegative);
  void add(std::string name, std::uint64_t& field, std::string unit, std::string help);
  void add(std::string name, double& field, std::string unit, std::string help, Range range = kNotNegative);
  void add(std::string name, bool& field, std::string help);
  void add(std::string name, Duration& field, std::string help);
  void add(std::string name, std::string& field, std::string unit, std::string help);
  /// May be given several times; the values are kept in order.
  void add(std::string name, std::vector<std::string>& field, std::string unit, std::string help);
  /// One of a fixed list of words.
  template <class E>
  void add_choice(std::string name, E& field, std::initializer_list<std::pair<const char*, E>> choices,
                  std::string help) {
    std::vector<std::pair<std::string, E>> known(choices.begin(), choices.end());
    std::vector<std::string> words;
    for (const auto& [word, value] : known) words.push_back(word);
    add_word(
        std::move(name), std::move(words), std::move(help),
        [known, &field](std::size_t chosen) { field = known[chosen].second; },
        [known, &field] {
          for (std::size_t i = 0; i < known.size(); ++i)
            if (known[i].second == field) return i;
          return known.size();
        });
  }
  /// f32, bf16 or f64.
  void add(std::string name, DType& field, std::string help);

  const std::vector<OptionRow>& rows() const;
  /// Null when there is no such option.
  const OptionRow* find(std::string_view key) const;

  /// Converts and stores. @param values one for a plain option, any number for a list.
  /// @throws ConfigError naming key, value, `origin` and what is allowed.
  void set(std::string_view key, const std::vector<std::string>& values, std::string_view origin);
  /// The present value(s) as they would be written in a file; reading them back gives the same value.
  std::vector<std::string> get(std::string_view key) const;

  /// The rows of the named sections (all when empty), laid out by Boost with units and defaults.
  std::string help(const std::vector<std::string>& sections = {}) const;

 private:
  void add_word(std::string name, std::vector<std::string> words, std::string help,
                std::function<void(std::size_t)> choose, std::function<std::size_t()> chosen);

  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

/// The key of `known` that is nearest to `key` by edit distance; the same name in another section counts as near.
/// Empty when nothing is known.
std::string nearest_key(std::string_view key, const std::vector<std::string>& known);

}  // namespace athanor
