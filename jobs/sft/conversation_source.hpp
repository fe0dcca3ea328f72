// Where conversations for fine-tuning come from: users' files, an earlier stage of the recipe, the program itself.
//   FILE.jsonl[.gz]                                  see io/dataset/conversation_file.hpp
//   stage:NAME                                       what stage NAME wrote (kind rejection_sampling)
//   generated:chats(TASKS, ...)                      problems with worked solutions (src/task/README.md)
//   generated:polite(TASKS; count=200)               the same with a polite phrase in the end
//   generated:greetings(count=200; language=both)    talk without reasoning (jobs/sampling/generated_conversations.hpp)
// Law: the same conversations in the same order on every rank, and after every restart.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "io/dataset/conversation_file.hpp"
#include "io/options/job_options.hpp"
#include "jobs/run_folder.hpp"
#include "jobs/sft/example_file.hpp"
#include "parallel/host_group.hpp"
#include "src/text/tokenizer.hpp"

namespace athanor {

/// All conversations of options.sft.data, one at a time. @param folder  of the run; null: sources that are stages are
/// left out (they have not run yet). @param logs  tells of lines that are left out.
/// @throws ConfigError for sources there are none of, and files with more bad lines than options.sft.max_bad_share:
/// lines that are no conversations, or whose rendering is longer than data.sequence_length.
void visit_conversation_sources(const JobOptions& options, const RunFolder* folder, const Tokenizer& tokenizer,
                                bool logs, const std::function<void(const Conversation&)>& visit);

/// The conversations in the layout options.sft.layout, as a file below `data_folder`; made where it is not there from
/// the same sources. Collective: the first rank makes it, all map it; a signal ends that (Interrupted). @throws
/// ConfigError as above, and where the tokenizer has not the layout's tokens.
ExampleFile prepare_examples(const JobOptions& options, const RunFolder& folder, const Tokenizer& tokenizer,
                             const std::filesystem::path& data_folder, HostGroup& ranks);

}  // namespace athanor
