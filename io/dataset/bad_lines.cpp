#include "io/dataset/bad_lines.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "src/base/error.hpp"

namespace athanor {

void settle_bad_lines(const std::string& path, std::size_t num_good, const std::vector<std::string>& bad,
                      double max_share, const std::function<void(const std::string&)>& report) {
  constexpr std::size_t kNamedLines = 10;
  const std::size_t lines = num_good + bad.size();
  if (static_cast<double>(bad.size()) > max_share * static_cast<double>(lines)) {
    const std::span<const std::string> named(bad.data(), std::min(bad.size(), kNamedLines));
    throw ConfigError(fmt::format("{}: {} of {} lines cannot be used, more than the {:g} % allowed:\n  {}{}", path,
                                  bad.size(), lines, 100.0 * max_share, fmt::join(named, "\n  "),
                                  bad.size() > named.size() ? "\n  ..." : ""));
  }
  if (num_good == 0) throw ConfigError(fmt::format("{}: none of its {} lines can be used", path, lines));
  if (report)
    for (const std::string& message : bad) report(message);
}

}  // namespace athanor
