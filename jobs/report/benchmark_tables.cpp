#include "jobs/report/benchmark_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

namespace athanor {
namespace {
using nlohmann::json;

std::string percent_cell(const json& share) {
  return share.is_number() ? fmt::format("{:.1f}", 100.0 * share.get<double>()) : "-";
}

std::string number_cell(const json& number) {
  return number.is_number() ? fmt::format("{:.1f}", number.get<double>()) : "-";
}

std::string estimate_cell(const json& estimate) {
  if (!estimate.is_object()) return "-";
  const std::string value = percent_cell(estimate.at("value"));
  const json error = estimate.value("error", json());
  return error.is_number() ? value + " <small>± " + percent_cell(error) + "</small>" : value;
}

std::string reward_cell(const json& benchmark, const std::string& name) {
  const auto rewards = benchmark.find("rewards");
  if (rewards == benchmark.end() || !rewards->contains(name) || !rewards->at(name).is_number()) return "-";
  return fmt::format("{:.3f}", rewards->at(name).get<double>());
}

/// Breaks where the name has a "_".
std::string reward_head(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return "<th class=\"reward-name\">" + html_escaped(name) + "</th>";
}

void add_new(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

void add_rewards(std::vector<std::string>& names, const json& benchmark) {
  if (const auto rewards = benchmark.find("rewards"); rewards != benchmark.end() && rewards->is_object())
    for (const auto& [name, mean] : rewards->items()) add_new(names, name);
}

const json* benchmarks_of(const StageRecord& stage) {
  if (!stage.results.is_object()) return nullptr;
  const auto benchmarks = stage.results.find("benchmarks");
  return benchmarks == stage.results.end() ? nullptr : &*benchmarks;
}

/// What the last measurement of an rl stage says, in the words of a benchmark. The error of maj@k is not kept.
json own_numbers(const StageRecord& stage) {
  const auto number = [&](const char* metric) {
    const auto value = stage.last(metric);
    return value ? json(*value) : json();
  };
  return {{"pass@1", {{"value", number("held_out/pass@1")}, {"error", number("held_out/pass@1_error")}}},
          {"maj@k", {{"value", number("held_out/maj@k")}}},
          {"completion_length", number("held_out/completion_length")},
          {"well_formed", number("held_out/well_formed")},
          {"language_consistency", number("held_out/language_consistency")}};
}

struct Row {
  const StageRecord* model;
  const StageRecord* measured_by;  ///< the model's own stage: its held-out numbers
  std::map<std::string, json> benchmarks;
};

/// Rows, and what stands above their cells.
struct Models {
  std::vector<Row> rows;
  std::vector<std::string> benchmarks;
  std::map<std::string, std::vector<std::string>> rewards;  ///< of each benchmark

  explicit Models(const RunRecord& run) {
    std::map<std::string, std::string> name_of_spec;
    for (const StageRecord& stage : run.stages)
      if (const json* all = benchmarks_of(stage))
        for (const json& benchmark : *all) {
          const auto name = benchmark.at("name").get<std::string>();
          add_new(benchmarks, name);
          add_rewards(rewards[name], benchmark);
          name_of_spec.emplace(benchmark.value("benchmark", name), name);
        }
    for (const StageRecord& model : run.stages) {
      const std::size_t before = rows.size();
      for (const StageRecord& stage : run.stages)
        if (const json* all = stage.init() == model.name || (&stage == &model && stage.init().empty())
                                  ? benchmarks_of(stage)
                                  : nullptr) {
          Row row{&model, &stage, {}};
          for (const json& benchmark : *all) row.benchmarks[benchmark.at("name").get<std::string>()] = benchmark;
          rows.push_back(std::move(row));
        }
      if (rows.size() > before || !model.last("held_out/pass@1")) continue;
      const auto known = name_of_spec.find(model.held_out_problems);
      const std::string name = known == name_of_spec.end() ? model.held_out_problems : known->second;
      add_new(benchmarks, name);
      rows.push_back({&model, &model, {{name, own_numbers(model)}}});
    }
  }
};

std::string link(const StageRecord& stage) { return fmt::format("<a href=\"#{0}\">{0}</a>", html_escaped(stage.name)); }

}  // namespace

std::string models_table(const RunRecord& run) {
  const Models models(run);
  if (models.rows.empty()) return "";
  std::string heads = "<tr><th rowspan=\"2\">model</th><th rowspan=\"2\">measured by</th>", columns = "<tr>";
  for (const std::string& name : models.benchmarks) {
    const auto rewards = models.rewards.find(name);
    const std::size_t count = rewards == models.rewards.end() ? 0 : rewards->second.size();
    heads += fmt::format("<th class=\"group\" colspan=\"{}\">{}</th>", 5 + count, html_escaped(name));
    columns +=
        "<th class=\"first\">pass@1 %</th><th>maj@k %</th><th>tokens</th><th>language %</th><th>well formed %</th>";
    for (std::size_t r = 0; r < count; ++r) columns += reward_head(rewards->second[r]);
  }
  std::string html = "<div class=\"wide\"><table class=\"models\">" + heads + "</tr>" + columns + "</tr>\n";
  for (const Row& row : models.rows) {
    html += fmt::format("<tr><td>{}</td><td>{}</td>", link(*row.model),
                        row.measured_by == row.model ? "its own stage" : link(*row.measured_by));
    for (const std::string& name : models.benchmarks) {
      const auto found = row.benchmarks.find(name);
      const json benchmark = found == row.benchmarks.end() ? json::object() : found->second;
      html +=
          fmt::format("<td class=\"first\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
                      estimate_cell(benchmark.value("pass@1", json())), estimate_cell(benchmark.value("maj@k", json())),
                      number_cell(benchmark.value("completion_length", json())),
                      percent_cell(benchmark.value("language_consistency", json())),
                      percent_cell(benchmark.value("well_formed", json())));
      if (const auto rewards = models.rewards.find(name); rewards != models.rewards.end())
        for (const std::string& reward : rewards->second) html += "<td>" + reward_cell(benchmark, reward) + "</td>";
    }
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string benchmarks_table(const StageRecord& stage) {
  const json* benchmarks = benchmarks_of(stage);
  if (benchmarks == nullptr) return "";
  std::vector<std::string> rewards;
  for (const json& benchmark : *benchmarks) add_rewards(rewards, benchmark);
  std::string html =
      "<div class=\"wide\"><table><tr><th>benchmark</th><th>problems</th><th>samples</th><th>pass@1 %</th><th>pass@k "
      "%</th><th>maj@k %</th><th>tokens</th><th>cut short %</th><th>well formed %</th><th>think first "
      "%</th><th>language %</th>";
  for (const std::string& reward : rewards) html += reward_head(reward);
  html += "</tr>";
  for (const json& benchmark : *benchmarks) {
    const auto samples = benchmark.at("samples").get<std::int64_t>();
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td>{}</td><td>{}</td>",
        html_escaped(benchmark.at("name").get<std::string>()), benchmark.at("problems").get<std::int64_t>(), samples,
        estimate_cell(benchmark.at("pass@1")), estimate_cell(benchmark.at("pass@k").at(std::to_string(samples))),
        estimate_cell(benchmark.at("maj@k")), number_cell(benchmark.at("completion_length")),
        percent_cell(benchmark.at("truncated")), percent_cell(benchmark.at("well_formed")),
        percent_cell(benchmark.at("thinking")), percent_cell(benchmark.at("language_consistency")));
    for (const std::string& reward : rewards) html += "<td>" + reward_cell(benchmark, reward) + "</td>";
    html += "</tr>";
  }
  return html + "</table></div>\n";
}

}  // namespace athanor
