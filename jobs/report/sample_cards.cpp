#include "jobs/report/sample_cards.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace athanor {
namespace {
using nlohmann::json;

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? html_escaped(found->get<std::string>()) : "";
}

std::string sample_card(const json& sample) {
  std::string state, note;
  if (const auto right = sample.find("right"); right != sample.end() && right->is_boolean())
    state = right->get<bool>() ? "good" : "bad";
  if (const auto reward = sample.find("reward"); reward != sample.end() && reward->is_number()) {
    const double advantage = sample.value("advantage", 0.0);
    state = advantage > 0.0 ? "good" : advantage < 0.0 ? "bad" : "";
    note = fmt::format(" · reward {} · advantage {:+.2f}", short_number(reward->get<double>()), advantage);
  }
  if (const std::string benchmark = text_of(sample, "benchmark"); !benchmark.empty()) note += " · " + benchmark;
  const std::string answer = text_of(sample, "answer");
  return fmt::format("<div class=\"sample {}\"><pre class=\"ask\">{}</pre><pre>{}</pre><p>{}{}</p></div>\n", state,
                     text_of(sample, "prompt"), text_of(sample, "completion"),
                     answer.empty() ? "" : "wanted <b>" + answer + "</b>", note);
}

std::string conversation_card(const json& conversation) {
  std::string html = "<div class=\"sample good\">";
  if (const auto messages = conversation.find("messages"); messages != conversation.end() && messages->is_array())
    for (const json& message : *messages) {
      const bool answers = message.value("role", "") == "assistant";
      if (const std::string reasoning = text_of(message, "reasoning_content"); !reasoning.empty())
        html += "<pre class=\"thought\">" + reasoning + "</pre>";
      html += fmt::format("<pre{}>{}</pre>", answers ? "" : " class=\"ask\"", text_of(message, "content"));
    }
  std::string note = text_of(conversation, "task");
  for (const std::string& part : {text_of(conversation, "language"), text_of(conversation, "reward")})
    if (!part.empty()) note += " · " + part;
  if (const auto tokens = conversation.find("completion_tokens"); tokens != conversation.end() && tokens->is_number())
    note += fmt::format(" · {} tokens sampled", tokens->get<std::int64_t>());
  return html + "<p>" + note + "</p></div>\n";
}

std::string bar(std::string name, std::int64_t count, std::int64_t of, const char* state) {
  std::replace(name.begin(), name.end(), '_', ' ');
  const double share = 100.0 * static_cast<double>(count) / static_cast<double>(of);
  return fmt::format(
      "<span>{}</span><span class=\"bar\"><i class=\"{}\" style=\"width:{:.2f}%\"></i></span><b>{}</b><span>{:.1f} %"
      "</span>\n",
      html_escaped(name), state, share, count, share);
}

}  // namespace

std::string sample_cards(const StageRecord& stage) {
  constexpr std::size_t kMostCards = 9;
  if (stage.samples.empty()) return "";
  std::vector<std::int64_t> steps;
  for (const json& sample : stage.samples)
    if (const std::int64_t step = sample.value("step", std::int64_t{-1}); steps.empty() || steps.back() != step)
      steps.push_back(step);
  std::vector<std::int64_t> chosen{steps.front(), steps[steps.size() / 2], steps.back()};
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  std::string html;
  for (const std::int64_t step : chosen) {
    html += step < 0 ? "<h3>Completions</h3>" : fmt::format("<h3>Completions before step {}</h3>", step);
    html += "<div class=\"samples\">\n";
    std::size_t cards = 0;
    for (const json& sample : stage.samples)
      if (sample.value("step", std::int64_t{-1}) == step && cards++ < kMostCards) html += sample_card(sample);
    html += "</div>\n";
  }
  return html;
}

std::string sampling_figure(const StageRecord& stage) {
  std::string html;
  if (stage.sampling.is_object() && stage.sampling.contains("rejected")) {
    const auto kept = stage.sampling.value("kept", std::int64_t{0});
    std::vector<std::pair<std::int64_t, std::string>> reasons;
    std::int64_t all = kept;
    for (const auto& [name, count] : stage.sampling["rejected"].items()) {
      reasons.emplace_back(count.get<std::int64_t>(), name);
      all += reasons.back().first;
    }
    std::stable_sort(reasons.begin(), reasons.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    if (all > 0) {
      html += fmt::format(
          "<figure class=\"bars\"><figcaption><b>Completions kept and rejected</b> <i>{} completions of {} "
          "problems</i></figcaption><div>\n",
          all, stage.sampling.value("problems", std::int64_t{0}));
      html += bar("kept", kept, all, "good");
      for (const auto& [count, name] : reasons)
        if (count > 0) html += bar(name, count, all, "bad");
      html += "</div></figure>\n";
    }
  }
  if (!stage.kept_conversations.empty()) {
    html += "<h3>Conversations kept</h3><div class=\"samples\">\n";
    for (const json& conversation : stage.kept_conversations) html += conversation_card(conversation);
    html += "</div>\n";
  }
  return html;
}

}  // namespace athanor
