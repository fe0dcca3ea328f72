#include "jobs/sampling/generated_conversations.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "src/base/error.hpp"
#include "src/base/named_spec.hpp"
#include "src/base/nearest_name.hpp"
#include "src/task/draw.hpp"

namespace athanor {
namespace {

struct Exchange {
  std::string user, assistant;
};
struct Pair {
  std::string_view first, second;
};

constexpr std::array<std::string_view, 8> kNames{"Ada", "Boris", "Chen", "Dora", "Emil", "Fatima", "Goro", "Hana"};
constexpr std::array<std::string_view, 8> kChineseNames{"小明", "小红", "李华", "王芳", "张伟", "刘洋", "陈静", "赵磊"};

constexpr std::array kGreetings{Pair{"Hello!", "Hello! How can I help you?"},
                                Pair{"Good morning.", "Good morning! What can I do for you?"},
                                Pair{"Thank you very much.", "You are welcome."},
                                Pair{"Goodbye!", "Goodbye! Have a good day."},
                                Pair{"How are you?", "I am fine, thank you. How can I help you?"},
                                Pair{"Can you help me?", "Of course. What is your question?"}};
constexpr std::array kChineseGreetings{Pair{"你好！", "你好！有什么可以帮你的吗？"},
                                       Pair{"早上好。", "早上好！请问需要什么帮助？"},
                                       Pair{"非常感谢。", "不客气。"},
                                       Pair{"再见！", "再见！祝你愉快。"},
                                       Pair{"你好吗？", "我很好，谢谢。有什么可以帮你的吗？"},
                                       Pair{"你能帮我吗？", "当然可以。你有什么问题？"}};

constexpr std::array<std::string_view, 12> kWords{"apple", "river", "music", "garden", "window", "paper",
                                                  "stone", "light", "bread", "horse",  "cloud",  "letter"};
constexpr std::array<std::string_view, 12> kChineseWords{"苹果", "河流", "音乐", "花园", "窗户", "纸张",
                                                         "石头", "灯光", "面包", "马匹", "云朵", "书信"};
constexpr std::array kFacts{Pair{"the day after Monday", "Tuesday"}, Pair{"the colour of snow", "white"},
                            Pair{"the capital of France", "Paris"},  Pair{"the first month of the year", "January"},
                            Pair{"the opposite of hot", "cold"},     Pair{"the young of a cat", "a kitten"}};
constexpr std::array kChineseFacts{Pair{"星期一的后一天", "星期二"}, Pair{"雪的颜色", "白色"},
                                   Pair{"法国的首都", "巴黎"},       Pair{"一年的第一个月", "一月"},
                                   Pair{"热的反义词", "冷"},         Pair{"猫的幼崽", "小猫"}};

Exchange greeting(Draw& draw, bool chinese) {
  if (draw.chance(0.5)) {
    const std::string_view name = chinese ? draw.one_of(kChineseNames) : draw.one_of(kNames);
    if (chinese) return {fmt::format("你好，我叫{}。", name), fmt::format("你好，{}！很高兴认识你。", name)};
    return {fmt::format("Hi, my name is {}.", name), fmt::format("Hello, {}! Nice to meet you.", name)};
  }
  const Pair pair = chinese ? draw.one_of(kChineseGreetings) : draw.one_of(kGreetings);
  return {std::string(pair.first), std::string(pair.second)};
}

Exchange request(Draw& draw, bool chinese) {
  if (draw.chance(0.3)) {
    const Pair fact = chinese ? draw.one_of(kChineseFacts) : draw.one_of(kFacts);
    if (chinese) return {fmt::format("{}是什么？", fact.first), fmt::format("是{}。", fact.second)};
    return {fmt::format("What is {}?", fact.first), fmt::format("It is {}.", fact.second)};
  }
  const std::string_view a = chinese ? draw.one_of(kChineseWords) : draw.one_of(kWords);
  const std::string_view b = chinese ? draw.one_of(kChineseWords) : draw.one_of(kWords);
  if (draw.chance(0.5)) {
    if (chinese) return {fmt::format("请重复：{}、{}。", a, b), fmt::format("{}、{}。", a, b)};
    return {fmt::format("Please repeat: {}, {}.", a, b), fmt::format("{}, {}.", a, b)};
  }
  if (chinese) return {fmt::format("{}和{}，哪个词在前？", a, b), fmt::format("在前的是{}。", a)};
  return {fmt::format("Which word comes first here: {} or {}?", a, b), fmt::format("The first word is {}.", a)};
}

}  // namespace

GeneratedConversations::GeneratedConversations(std::string_view text) {
  const NamedSpec spec = parse_named_spec(text, "mix");
  SpecOptions options(spec, "mix");
  const std::array<std::string, 2> kinds{"greetings", "requests"};
  const std::array<std::string, 3> languages{"en", "zh", "both"};
  source_ = spec.text;
  kind_ = options.subject("greetings or requests");
  if (kind_ != kinds[0] && kind_ != kinds[1]) throw ConfigError("mix generated: " + unknown_name(kind_, kinds));
  language_ = options.word("language", "both", languages);
  options.finish();
}

nlohmann::ordered_json GeneratedConversations::conversation(std::uint64_t seed, std::int64_t number) const {
  const bool chinese = language_ == "zh" || (language_ == "both" && number % 2 == 1);
  Draw draw(seed, stable_hash(kind_) + static_cast<std::uint64_t>(number));
  const Exchange exchange = kind_ == "greetings" ? greeting(draw, chinese) : request(draw, chinese);
  return {{"messages",
           {{{"role", "user"}, {"content", exchange.user}}, {{"role", "assistant"}, {"content", exchange.assistant}}}},
          {"language", chinese ? "zh" : "en"},
          {"task", kind_},
          {"provenance", {{"source", source_}, {"number", number}, {"seed", seed}}}};
}

}  // namespace athanor
