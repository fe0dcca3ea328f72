// Text that the program writes itself, so that it can be tried with nothing at hand.
#pragma once

#include <filesystem>
#include <string>

namespace athanor {

/// Writes the text named `name` ("tales": 1 MB of small stories with sums and counts in them). The same bytes each
/// time; a file that is there already is left alone. @throws ConfigError listing the names there are; DataError
void write_generated_text(const std::string& name, const std::filesystem::path& file);

}  // namespace athanor
