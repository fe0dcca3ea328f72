#include "jobs/generated_text.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "io/checkpoint/durable.hpp"
#include "io/dataset/conversation_file.hpp"
#include "jobs/stop_signal.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/task/task_text.hpp"

namespace athanor {
namespace {

constexpr std::size_t kTaleBytes = 1 << 20;

/// Draws one after the other from one stream of random numbers.
class Draw {
 public:
  explicit Draw(std::uint64_t story) : random_(2026, RandomPurpose::test, story) {}
  std::uint64_t below(std::uint64_t count) { return random_.word64(next_++) % count; }
  template <std::size_t N>
  std::string_view one_of(const std::array<std::string_view, N>& words) {
    return words[below(N)];
  }

 private:
  Philox random_;
  std::uint64_t next_ = 0;
};

constexpr std::array<std::string_view, 8> kNames{"Ada", "Boris", "Chen", "Dora", "Emil", "Fatima", "Goro", "Hana"};
constexpr std::array<std::string_view, 6> kJobs{"smith", "baker", "sailor", "gardener", "teacher", "potter"};
constexpr std::array<std::string_view, 6> kPlaces{"by the river",    "in the old town", "on the hill",
                                                  "near the forest", "at the harbour",  "behind the mill"};
constexpr std::array<std::string_view, 6> kThings{"apples", "copper coins", "glass beads", "eggs", "candles", "books"};
constexpr std::array<std::string_view, 5> kGifts{"a friend", "the king", "a stranger", "the miller", "a child"};
constexpr std::array<std::string_view, 5> kMoods{"glad", "tired", "proud", "puzzled", "calm"};

/// A story whose numbers are right: there is something to learn beyond spelling.
std::string tale(std::uint64_t number) {
  Draw draw(number);
  const auto name = draw.one_of(kNames);
  const auto things = draw.one_of(kThings);
  const std::uint64_t first = 2 + draw.below(40), found = 1 + draw.below(30), given = 1 + draw.below(first + found - 1);
  std::string text = fmt::format("{} the {} lived {}. In the morning {} had {} {}. ", name, draw.one_of(kJobs),
                                 draw.one_of(kPlaces), name, first, things);
  text += fmt::format("Then {} found {} more, so there were {} plus {}, which makes {}. ", name, found, first, found,
                      first + found);
  text += fmt::format("{} gave {} {} to {}, and {} minus {} left {}. ", name, given, things, draw.one_of(kGifts),
                      first + found, given, first + found - given);
  text += fmt::format("In the evening {} was {}, counted once more, and there were still {}.\n", name,
                      draw.one_of(kMoods), first + found - given);
  return text;
}

void write_tales(const std::filesystem::path& file) {
  std::string text;
  for (std::uint64_t number = 0; text.size() < kTaleBytes; ++number) text += tale(number);
  replace_text_file(file, text);
}

void write_tasks(const TaskText& tasks, const std::filesystem::path& file) {
  std::string lines;
  std::int64_t bytes = 0;
  for (std::uint64_t number = 0; bytes < tasks.options().bytes; ++number) {
    StopSignal::require_not_asked("writing generated text");
    const std::string document = tasks.document(number);
    bytes += std::ssize(document);
    lines += nlohmann::json{{"text", document}}.dump() + "\n";
  }
  replace_text_file(file, lines);
}

template <class F>
void for_each_chat(const TaskText& chats, const F& use) {
  std::int64_t bytes = 0;
  for (std::uint64_t number = 0; bytes < chats.options().bytes; ++number) {
    StopSignal::require_not_asked("writing generated conversations");
    TaskChat chat = chats.chat(number);
    Conversation conversation;
    conversation.messages = std::move(chat.messages);
    conversation.answer = chat.problem.answer;
    conversation.language = chat.problem.language;
    conversation.task = chat.problem.task;
    conversation.provenance =
        nlohmann::json{{"stage", "generated"}, {"problem", number}, {"correct", chat.correct}}.dump();
    const std::string line = conversation_line(conversation);
    bytes += std::ssize(line) + 1;
    use(std::move(conversation), line);
  }
}

/// Conversations, a line each, as io/dataset/conversation_file.hpp reads them.
void write_chats(const TaskText& chats, const std::filesystem::path& file) {
  std::string lines;
  for_each_chat(chats, [&](const Conversation&, const std::string& line) { lines += line + "\n"; });
  replace_text_file(file, lines);
}

}  // namespace

std::vector<Conversation> generated_chats(const std::string& arguments) {
  std::vector<Conversation> conversations;
  for_each_chat(TaskText(arguments, TaskTextKind::chats), [&](Conversation conversation, const std::string&) {
    conversation.place = "generated:chats, number " + std::to_string(conversations.size());
    conversations.push_back(std::move(conversation));
  });
  return conversations;
}

std::filesystem::path write_generated_text(const std::string& name, const std::filesystem::path& folder) {
  constexpr std::string_view kTasks = "tasks(", kChats = "chats(";
  if (name == "tales") {
    const auto file = folder / "tales.txt";
    if (!std::filesystem::exists(file)) write_tales(file);
    return file;
  }
  if (name.starts_with(kTasks) && name.ends_with(')')) {
    const TaskText tasks(name.substr(kTasks.size(), name.size() - kTasks.size() - 1));
    const auto file = folder / fmt::format("tasks-{:016x}.jsonl", stable_hash(name));
    if (!std::filesystem::exists(file)) write_tasks(tasks, file);
    return file;
  }
  if (name.starts_with(kChats) && name.ends_with(')')) {
    const TaskText chats(name.substr(kChats.size(), name.size() - kChats.size() - 1), TaskTextKind::chats);
    const auto file = folder / fmt::format("chats-{:016x}.jsonl", stable_hash(name));
    if (!std::filesystem::exists(file)) write_chats(chats, file);
    return file;
  }
  throw ConfigError("generated:" + name +
                    " is not known; there are generated:tales, generated:tasks(TASK, ...) and, for conversations, "
                    "generated:chats(TASK, ...)");
}

}  // namespace athanor
