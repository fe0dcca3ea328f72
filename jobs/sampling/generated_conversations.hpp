// Conversations without reasoning that the program writes itself, so that a mixture can be tried with nothing at hand:
// greetings (which get no chain of thought in R1's data either) and small requests. Law: number i of a kind is a pure
// function of (kind, language, seed, i).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace athanor {

class GeneratedConversations {
 public:
  /// @param spec  "generated:greetings" or "generated:requests(language=en)"; language: en, zh or both, taken in turn.
  /// @throws ConfigError listing what there is.
  explicit GeneratedConversations(std::string_view spec);

  /// {"messages": [...], "language", "task", "provenance": {"source", "number", "seed"}}
  nlohmann::ordered_json conversation(std::uint64_t seed, std::int64_t number) const;

 private:
  std::string source_, kind_, language_;
};

}  // namespace athanor
