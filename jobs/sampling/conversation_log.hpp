// The conversations a stage has kept so far, and why it did not keep the others: on disk after every round, so that a
// run that is killed at any instant goes on behind its last whole round and ends with the same bytes.
//   data/kept.jsonl     grows by a round at a time; what lies behind the length in progress.json is cut off
//   data/progress.json  length of kept.jsonl, counts, what the stage was asked for; replaced by a rename
//   data/conversations.jsonl, data/rejected.json  written when all rounds are done; kept.jsonl is removed then
// Law: rank 0 alone has one. Duplicates and the cap are decided here, in the order of problems.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "jobs/sampling/conversation_round.hpp"
#include "jobs/sampling/mixed_conversations.hpp"

namespace athanor {

struct SamplingCounts {
  std::int64_t problems = 0;               ///< done
  std::int64_t contaminated_problems = 0;  ///< of these, not asked
  std::int64_t completions = 0, right = 0, kept = 0;
  std::int64_t solved = 0;  ///< problems with a completion that was kept
  std::int64_t tokens = 0;  ///< of completions
  std::array<std::int64_t, kRejectionNames.size()> rejected{};

  double acceptance_rate() const;  ///< kept of sampled; 0 for none
  nlohmann::ordered_json to_json() const;
  static SamplingCounts from_json(const nlohmann::json& object);
};

class ConversationLog {
 public:
  /// Goes on with what is in the folder. @param settings  an object of everything that decides what is kept.
  /// @throws ConfigError where the folder was begun with other settings, naming them; DataError where files are
  /// damaged.
  ConversationLog(std::filesystem::path folder, nlohmann::ordered_json settings, std::int64_t keep_per_problem);

  const SamplingCounts& counts() const { return counts_; }
  bool finished() const { return finished_; }
  /// Decides what of a round is kept. @returns what this round adds to the counts.
  SamplingCounts add(SamplingRound round);
  /// Writes what was added; durable when it is back. What is told of a round elsewhere is told between the two: records
  /// past the last durable round are cut off at a restart, missing ones never come.
  void commit();
  /// Mixes and writes the files of the stage. @param about  begins rejected.json.
  void finish(MixedConversations& mixed, const nlohmann::ordered_json& about);

 private:
  void read_kept(std::int64_t bytes);
  /// nullopt: it is to be kept, and was noted.
  std::optional<Rejection> decide(const std::string& line);
  void write_progress() const;

  std::filesystem::path folder_;
  nlohmann::ordered_json settings_;
  std::int64_t keep_per_problem_;
  SamplingCounts counts_;
  std::int64_t kept_bytes_ = 0;
  std::string pending_;  ///< lines that were added since the last commit
  bool finished_ = false;
  std::unordered_set<std::uint64_t> conversations_;                 ///< hashes of those kept
  std::unordered_map<std::uint64_t, std::int64_t> kept_of_prompt_;  ///< by hash of the user's turns
};

}  // namespace athanor
