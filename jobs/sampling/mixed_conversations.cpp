#include "jobs/sampling/mixed_conversations.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/dataset/bad_lines.hpp"
#include "io/dataset/conversation_file.hpp"
#include "jobs/training_data.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {
using nlohmann::json;

constexpr std::int64_t kMostReports = 20;

bool is_generated(const std::string& name) { return name.starts_with("generated:"); }

}  // namespace

MixedConversations::MixedConversations(const JobOptions& options, const Decontamination& decontamination, bool logs)
    : seed_(options.run.seed), decontamination_(decontamination) {
  double sum = 0.0;
  for (const std::string& text : options.sampling.mix) {
    const DataSource parsed = parse_data_source(text);
    if (!(parsed.weight < 1.0))
      throw ConfigError("sampling.mix: '" + text +
                        "': the share of the whole has to lie between 0 and 1; write FILE @ 0.25");
    sum += parsed.weight;
    sources_.push_back({.name = parsed.name, .share = parsed.weight, .usable = {}});
  }
  if (sum >= 1.0)
    throw ConfigError(fmt::format("sampling.mix: shares add up to {}, which leaves nothing for what is sampled", sum));
  readings_.resize(sources_.size());
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    if (is_generated(sources_[s].name))
      (void)GeneratedConversations(sources_[s].name);
    else
      check_file(s, logs);
  }
}

void MixedConversations::check_file(std::size_t source, bool logs) {
  Source& counted = sources_[source];
  Reading& reading = readings_[source];
  std::int64_t usable = 0;
  std::vector<std::string> bad;
  JsonlReader reader(counted.name);
  for (json object;;) {
    bool can_be_used = false;
    try {
      if (!reader.next(object)) break;
      can_be_used = !decontamination_.occurs_in(parse_conversation(object, reader.place()).messages);
      counted.contaminated += can_be_used ? 0 : 1;
    } catch (const ConfigError& error) {
      bad.emplace_back(error.what());
    }
    reading.usable.push_back(can_be_used);
    usable += can_be_used ? 1 : 0;
  }
  std::int64_t reported = 0;
  settle_bad_lines(counted.name, static_cast<std::size_t>(usable + counted.contaminated), bad, kMaxBad,
                   [&](const std::string& message) {
                     if (logs && ++reported <= kMostReports) spdlog::info("left out: {}", message);
                   });
  counted.bad = std::ssize(bad);
  counted.usable = usable;
}

void MixedConversations::choose(std::int64_t kept) {
  double sum = 0.0;
  for (const Source& source : sources_) sum += source.share;
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    Source& source = sources_[s];
    source.wanted = std::llround(static_cast<double>(kept) * source.share / (1.0 - sum));
    source.used = source.usable ? std::min(source.wanted, *source.usable) : source.wanted;
    if (source.used < source.wanted)
      spdlog::warn("sampling.mix: {} has {} usable conversations, {} are wanted for a share of {:g}: each is used once",
                   source.name, source.used, source.wanted, source.share);
    Reading& reading = readings_[s];
    reading.given = 0;
    if (!source.usable) continue;
    const auto count = static_cast<std::uint64_t>(*source.usable);
    reading.chosen.assign(count, false);
    const Philox random(seed_, RandomPurpose::data_order, stable_hash(source.name));
    for (std::int64_t i = 0; i < source.used; ++i)
      reading.chosen[permuted_index(random, count, static_cast<std::uint64_t>(i))] = true;
    reading.record = reading.usable_record = 0;
    reading.reader = std::make_unique<JsonlReader>(source.name);
  }
}

std::string MixedConversations::next(std::size_t source) {
  const std::string& name = sources_[source].name;
  Reading& reading = readings_[source];
  if (is_generated(name)) return GeneratedConversations(name).conversation(seed_, reading.given++).dump();
  for (json object;;) {
    try {
      if (!reading.reader->next(object)) throw Error("sampling.mix: " + name + " became shorter while it was read");
    } catch (const ConfigError&) {
      ++reading.record;
      continue;
    }
    if (reading.record >= reading.usable.size()) throw Error("sampling.mix: " + name + " grew while it was read");
    if (!reading.usable[reading.record++]) continue;
    if (!reading.chosen[reading.usable_record++]) continue;
    Conversation conversation = parse_conversation(object, reading.reader->place());
    if (conversation.provenance.empty())
      conversation.provenance = nlohmann::ordered_json{{"source", name}, {"line", reading.reader->line()}}.dump();
    return conversation_line(conversation);
  }
}

}  // namespace athanor
