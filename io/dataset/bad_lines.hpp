// Lines of users' files that cannot be used. Law: up to a stated share they are left out, each reported with file and
// line; above it the file is refused, before anything is computed on it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace athanor {

/// @param num_good  lines that can be used.   @param bad  messages "file: line 3: ..." of those that cannot.
/// @param max_share  of the lines that may be bad, 0 to 1.   @param report  told of each left out; may be empty.
/// @throws ConfigError naming the first bad lines when there are too many, also when no line is left.
void settle_bad_lines(const std::string& path, std::size_t num_good, const std::vector<std::string>& bad,
                      double max_share, const std::function<void(const std::string&)>& report);

}  // namespace athanor
