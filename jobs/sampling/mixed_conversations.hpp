// Conversations from elsewhere that are mixed among the sampled ones (R1: 200k without reasoning beside 600k with).
// Laws
//  * `SOURCE @ SHARE`: the source makes up that share of the whole. A file that has too few gives each of its lines
//    once, which is said: learning them several times would be another data set than the one asked for.
//  * Which lines of a file are taken is a function of (seed, file, how many); they keep their order.
//  * Every line is read and checked when this is made (io/dataset/conversation_file says what a line may be). Bad lines
//    are told and left out, up to a share of kMaxBad.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/dataset/jsonl_reader.hpp"
#include "jobs/sampling/decontamination.hpp"
#include "jobs/sampling/generated_conversations.hpp"

namespace athanor {

class MixedConversations {
 public:
  static constexpr double kMaxBad = 0.01;

  struct Source {
    std::string name;  ///< a file, or "generated:..."
    double share = 0.0;
    std::optional<std::int64_t> usable;  ///< lines; nullopt: no end
    std::int64_t bad = 0, contaminated = 0;
    std::int64_t wanted = 0, used = 0;  ///< set by choose()
  };

  /// @param decontamination  must outlive this. @throws ConfigError for shares that are not between 0 and 1 or leave
  /// nothing for what is sampled, and for files with too many bad lines.
  MixedConversations(const JobOptions& options, const Decontamination& decontamination, bool logs);

  /// Decides how many of each source go with `kept` sampled conversations, and begins with the first.
  void choose(std::int64_t kept);
  const std::vector<Source>& sources() const { return sources_; }
  /// The next conversation of a source, as a line of JSON without a line break. @throws Error after the last.
  std::string next(std::size_t source);

 private:
  struct Reading {
    std::vector<bool> usable;  ///< by record of the file
    std::vector<bool> chosen;  ///< by usable record
    std::unique_ptr<JsonlReader> reader;
    std::size_t record = 0, usable_record = 0;
    std::int64_t given = 0;
  };
  void check_file(std::size_t source, bool logs);

  std::uint64_t seed_;
  const Decontamination& decontamination_;
  std::vector<Source> sources_;
  std::vector<Reading> readings_;
};

}  // namespace athanor
