// Pictures of a schedule in time: one row a rank, time to the right. Law: a picture shows what simulate() found and
// nothing else; it is made as text and written by the caller.
#pragma once

#include <string>

#include "parallel/pipeline/simulate.hpp"

namespace athanor {

/// Rows of characters: phase and micro-batch of each action ("F3"), a mark ' for each chunk the rank owns before the
/// action's own ("F3'" is the rank's second chunk), "F3/B1'" for an overlapped pair, dots where the rank is idle. A
/// label that does not fit is the phase alone; a row is never cut.
/// @param max_columns  of a row, as far as every action can still have one.
std::string draw_text(const PipelineSchedule& schedule, const ScheduleTimes& times, int max_columns);

/// A picture that needs no other file: colours by phase, lighter for the rank's later chunks, micro-batch numbers, an
/// axis in units, idle time and peak activations.
std::string draw_svg(const PipelineSchedule& schedule, const ScheduleTimes& times);

/// "21 units (17.9 %)", or from the least to the most over ranks.
std::string idle_words(const ScheduleTimes& times);

}  // namespace athanor
