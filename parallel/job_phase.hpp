// What a rank is busy with, as logs, deadlines and rehearsed faults call it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace athanor {

enum class JobPhase : std::uint8_t {
  starting,  ///< of the program or of a stage, and everything between stages
  data,      ///< files are looked for, text becomes tokens, models are built
  loading,   ///< of a checkpoint
  step,      ///< of the optimizer
  rollout,   ///< completions are sampled and scored
  evaluation,
  saving,  ///< of a checkpoint, as far as training waits for it
  writing  ///< its shard, by a thread of its own beside any other phase
};
inline constexpr std::array<std::string_view, 8> kJobPhaseNames = {"starting", "data",       "loading", "step",
                                                                   "rollout",  "evaluation", "saving",  "writing"};

inline std::string_view to_string(JobPhase phase) { return kJobPhaseNames[static_cast<std::size_t>(phase)]; }

/// Nothing where there is no such phase.
inline std::optional<JobPhase> job_phase_from_string(std::string_view name) {
  for (std::size_t i = 0; i < kJobPhaseNames.size(); ++i)
    if (kJobPhaseNames[i] == name) return static_cast<JobPhase>(i);
  return std::nullopt;
}

/// Whether ranks may wait there for one that reads or writes files for all.
inline bool waits_for_files(JobPhase phase) {
  return phase == JobPhase::starting || phase == JobPhase::data || phase == JobPhase::loading ||
         phase == JobPhase::saving || phase == JobPhase::writing;
}

}  // namespace athanor
