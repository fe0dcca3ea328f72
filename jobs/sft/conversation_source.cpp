#include "jobs/sft/conversation_source.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>

#include "jobs/generated_text.hpp"
#include "jobs/sampling/generated_conversations.hpp"
#include "jobs/stop_signal.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/task/polite_phrases.hpp"
#include "src/task/prompt_template.hpp"
#include "src/task/task.hpp"
#include "src/text/chat_template.hpp"

namespace athanor {
namespace {

ChatLayout layout_of(const SftOptions& sft) {
  if (const auto layout = chat_layout_of(parse_prompt_template(sft.layout))) return *layout;
  throw ConfigError("sft.layout = " + sft.layout + " is no layout of conversations; wanted r1, v3, chatml or llama3");
}

/// Why a conversation does not fit the rows; empty: it does.
std::string length_fault(const Conversation& conversation, const ChatTemplate& form, std::int64_t row_tokens) {
  for (const ChatTokens& rendered : form.trainings(conversation.messages))
    if (std::ssize(rendered.ids) > row_tokens + 1)
      return fmt::format("it has {} tokens, a row takes {} (data.sequence_length + 1)", rendered.ids.size(),
                         row_tokens + 1);
  return {};
}

/// "arithmetic:level=2; count=1000" as the part before and `count`, which is taken out.
std::string take_count(const std::string& arguments, std::int64_t& count) {
  std::string rest;
  for (std::size_t begin = 0; begin <= arguments.size();) {
    const std::size_t end = std::min(arguments.find(';', begin), arguments.size());
    std::string part = arguments.substr(begin, end - begin);
    part.erase(0, part.find_first_not_of(' '));
    if (part.starts_with("count=")) {
      const char *first = part.data() + 6, *last = part.data() + part.size();
      if (const auto parsed = std::from_chars(first, last, count);
          parsed.ec != std::errc{} || parsed.ptr != last || count < 1)
        throw ConfigError("sft.data: '" + part + "': wanted a whole number above 0");
    } else {
      rest += (rest.empty() ? "" : "; ") + part;
    }
    begin = end + 1;
  }
  return rest;
}

/// Worked solutions whose summary ends with a polite phrase: manners for a reward model to find.
std::vector<Conversation> polite_solutions(const std::string& specs, std::int64_t count, std::uint64_t seed) {
  TaskRegistry registry;
  register_all_tasks(registry);
  const TaskMixture tasks(specs, registry);
  std::vector<Conversation> conversations;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto number = static_cast<std::uint64_t>(i);
    const Problem problem = tasks.problem(seed + stable_hash("polite"), number, Split::train);
    ChatMessage answer =
        assistant_message(problem, tasks.task_of(problem).solution(problem, SolutionStyle::step_by_step, true));
    const auto& phrases = problem.language == "zh" ? kPoliteChinese : kPoliteEnglish;
    answer.content += (problem.language == "zh" ? "" : " ") + std::string(phrases[number % phrases.size()]);
    Conversation& conversation = conversations.emplace_back();
    conversation.messages = {{"user", problem.prompt}, std::move(answer)};
    conversation.answer = problem.answer;
    conversation.language = problem.language;
    conversation.task = problem.task;
    conversation.source = "generated:polite";
  }
  return conversations;
}

std::vector<Conversation> generated(const std::string& source, std::uint64_t seed) {
  const std::size_t open = source.find('(');
  const std::string kind = source.substr(0, open);
  const std::string arguments =
      open == std::string::npos ? "" : source.substr(open + 1, source.size() - open - (source.ends_with(')') ? 2 : 1));
  if (kind == "generated:chats") return generated_chats(arguments);
  std::int64_t count = 200;
  const std::string rest = take_count(arguments, count);
  if (kind == "generated:polite") return polite_solutions(rest, count, seed);
  const GeneratedConversations talk(kind + (rest.empty() ? "" : "(" + rest + ")"));
  std::vector<Conversation> conversations;
  for (std::int64_t i = 0; i < count; ++i)
    conversations.push_back(parse_conversation(nlohmann::json(talk.conversation(seed, i)), source));
  return conversations;
}

/// The file of a source, or nothing where the program makes it.
std::filesystem::path file_of(const std::string& source, const RunFolder& folder) {
  if (source.starts_with("generated:")) return {};
  if (!source.starts_with("stage:")) return source;
  const auto file = folder.stage(source.substr(6)) / "data" / "conversations.jsonl";
  if (!std::filesystem::exists(file))
    throw ConfigError("sft.data: " + source + ": there is no " + file.string() +
                      "; name an earlier stage of kind rejection_sampling");
  return file;
}

/// What the examples follow from.
std::string origin_of(const JobOptions& options, const RunFolder& folder, const Tokenizer& tokenizer) {
  const SftOptions& sft = options.sft;
  nlohmann::json sources = nlohmann::json::array();
  for (const std::string& source : sft.data) {
    nlohmann::json& entry = sources.emplace_back(nlohmann::json{{"source", source}});
    const auto file = file_of(source, folder);
    if (file.empty() || !std::filesystem::exists(file)) continue;
    entry["bytes"] = std::filesystem::file_size(file);
    entry["modified_ns"] =
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::filesystem::last_write_time(file).time_since_epoch())
            .count();
  }
  return nlohmann::json{{"sources", sources},
                        {"layout", sft.layout},
                        {"prompt_field", sft.prompt_field},
                        {"completion_field", sft.completion_field},
                        {"max_bad_share", sft.max_bad_share},
                        {"sequence_length", options.data.sequence_length},
                        {"seed", options.run.seed},
                        {"tokenizer_hash", fmt::format("{:016x}", tokenizer.content_hash())}}
      .dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void visit_conversation_sources(const JobOptions& options, const RunFolder* folder, const Tokenizer& tokenizer,
                                bool logs, const std::function<void(const Conversation&)>& visit) {
  const SftOptions& sft = options.sft;
  if (sft.data.empty()) throw ConfigError("sft.data is empty: give FILE.jsonl, stage:NAME or generated:chats(TASKS)");
  const ChatTemplate form(layout_of(sft), tokenizer);
  const auto fault_of = [&](const Conversation& conversation) {
    return length_fault(conversation, form, options.data.sequence_length);
  };
  ConversationOptions reading;
  reading.prompt_field = sft.prompt_field;
  reading.completion_field = sft.completion_field;
  reading.max_bad_share = sft.max_bad_share;
  reading.refusal = fault_of;
  if (logs) reading.report = [](const std::string& line) { spdlog::warn("sft.data: left out: {}", line); };
  for (const std::string& source : sft.data) {
    if (source.starts_with("stage:") && folder == nullptr) continue;
    if (source.starts_with("generated:")) {
      for (const Conversation& conversation : generated(source, options.run.seed)) {
        if (const std::string fault = fault_of(conversation); !fault.empty())
          throw ConfigError("sft.data: " + source + ": " + fault);
        visit(conversation);
      }
    } else {
      visit_conversations(folder ? file_of(source, *folder).string() : source, reading, visit);
    }
  }
}

ExampleFile prepare_examples(const JobOptions& options, const RunFolder& folder, const Tokenizer& tokenizer,
                             const std::filesystem::path& data_folder, HostGroup& ranks) {
  const auto file = data_folder / "examples.h5";
  on_first_rank(ranks, [&] {
    const std::string origin = origin_of(options, folder, tokenizer);
    if (has_examples(file, origin)) return;
    const ChatTemplate form(layout_of(options.sft), tokenizer);
    std::vector<Example> examples;
    visit_conversation_sources(options, &folder, tokenizer, true, [&](const Conversation& conversation) {
      StopSignal::require_not_asked("reading conversations");
      for (ChatTokens& rendered : form.trainings(conversation.messages))
        examples.push_back({std::move(rendered.ids), std::move(rendered.learned)});
    });
    write_examples(file, examples, origin);
  });
  return ExampleFile(file);
}

}  // namespace athanor
