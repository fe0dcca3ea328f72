// Text that the program writes itself, so that it can be tried with nothing at hand.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/dataset/conversation_file.hpp"

namespace athanor {

/// Writes the text named `name` into `folder`: "tales" (1 MB of small stories with sums and counts in them) or
/// "tasks(ARGUMENTS)" (problems with solutions, see src/task/task_text.hpp; a document a line of .jsonl) or
/// "chats(ARGUMENTS)" (the same as conversations, see io/dataset/conversation_file.hpp). The same bytes each time; a
/// file that is there already is left alone. @returns the file. @throws ConfigError listing the names there are;
/// DataError; Interrupted when a signal asks the job to stop
std::filesystem::path write_generated_text(const std::string& name, const std::filesystem::path& folder);

/// The conversations of "chats(ARGUMENTS)", in order. @throws ConfigError
std::vector<Conversation> generated_chats(const std::string& arguments);

}  // namespace athanor
