#include "parallel/pipeline/lower.hpp"

#include <algorithm>
#include <tuple>

#include "parallel/pipeline/simulate.hpp"

namespace athanor {
namespace {

/// A message as one event of the global order.
struct Transfer {
  double time;  ///< end of the action that makes it
  int from, to;
  std::size_t action;  ///< of `from`
  Part taker;
};

/// All messages, in the global order.
std::vector<Transfer> transfers_of(const PipelineSchedule& schedule, const ScheduleTimes& times) {
  std::vector<Transfer> transfers;
  for (int rank = 0; rank < schedule.num_ranks; ++rank) {
    const auto& program = schedule.rank_programs[static_cast<std::size_t>(rank)];
    for (std::size_t action = 0; action < program.size(); ++action)
      for (const Part& part : parts_of(program[action])) {
        if (part.phase == Phase::W) continue;
        const int taker = part.phase == Phase::F ? part.chunk + 1 : part.chunk - 1;
        if (taker < 0 || taker >= schedule.num_chunks) continue;
        const int to = schedule.chunk_rank[static_cast<std::size_t>(taker)];
        if (to == rank) continue;
        const double time = times.actions[static_cast<std::size_t>(rank)][action].end;
        transfers.push_back({time, rank, to, action, {part.phase, taker, part.micro_batch}});
      }
  }
  // Stable: an action's activations stay before its gradient.
  std::stable_sort(transfers.begin(), transfers.end(), [](const Transfer& a, const Transfer& b) {
    return std::tie(a.time, a.from, a.action) < std::tie(b.time, b.from, b.action);
  });
  return transfers;
}

/// Gives a number to each micro-batch that a chunk keeps: the lowest that is free.
class Slots {
 public:
  explicit Slots(const PipelineSchedule& schedule)
      : taken_(static_cast<std::size_t>(schedule.num_chunks)), slots_(schedule, 0) {}

  int take(const Part& forward) {
    auto& taken = taken_[static_cast<std::size_t>(forward.chunk)];
    const auto free = std::find(taken.begin(), taken.end(), false);
    const int slot = static_cast<int>(free - taken.begin());
    if (free == taken.end())
      taken.push_back(true);
    else
      *free = true;
    return slots_[forward] = slot;
  }
  int of(const Part& part) const { return slots_[{Phase::F, part.chunk, part.micro_batch}]; }
  void give_back(const Part& weight) {
    taken_[static_cast<std::size_t>(weight.chunk)][static_cast<std::size_t>(of(weight))] = false;
  }
  int count(int chunk) const { return static_cast<int>(taken_[static_cast<std::size_t>(chunk)].size()); }

 private:
  std::vector<std::vector<bool>> taken_;
  PerPart<int> slots_;
};

Step make_step(const Action& action, Slots& slots) {
  Step step{{}, action};
  for (const Part& part : parts_of(action)) {
    const int slot = part.phase == Phase::F ? slots.take(part) : slots.of(part);
    (action.phase == Phase::FB && part.phase != Phase::F ? step.slot_b : step.slot) = slot;
    if (part.phase == Phase::W) slots.give_back(part);
  }
  return step;
}

void mark_last_weights(RankProgram& program, int num_chunks) {
  std::vector<bool> seen(static_cast<std::size_t>(num_chunks));
  for (auto step = program.steps.rbegin(); step != program.steps.rend(); ++step)
    for (const Part& part : parts_of(step->action))
      if (part.phase == Phase::W && !seen[static_cast<std::size_t>(part.chunk)])
        step->completes_gradients = seen[static_cast<std::size_t>(part.chunk)] = true;
}

}  // namespace

LoweredSchedule lower(const PipelineSchedule& schedule) {
  const ScheduleTimes times = simulate(schedule, ActionTimes{});
  LoweredSchedule lowered;
  lowered.ranks.resize(static_cast<std::size_t>(schedule.num_ranks));
  Slots slots(schedule);
  for (std::size_t rank = 0; rank < lowered.ranks.size(); ++rank)
    for (const Action& action : schedule.rank_programs[rank])
      lowered.ranks[rank].steps.push_back(make_step(action, slots));
  for (RankProgram& program : lowered.ranks) mark_last_weights(program, schedule.num_chunks);
  for (int chunk = 0; chunk < schedule.num_chunks; ++chunk) lowered.num_slots.push_back(slots.count(chunk));

  // Before the first action that begins when the message comes, or later.
  const auto place = [&](int rank, double time) -> std::vector<Message>& {
    RankProgram& program = lowered.ranks[static_cast<std::size_t>(rank)];
    const auto& intervals = times.actions[static_cast<std::size_t>(rank)];
    const auto next = std::partition_point(intervals.begin(), intervals.end(),
                                           [time](const Interval& interval) { return interval.begin < time; });
    return next == intervals.end() ? program.last_messages
                                   : program.steps[static_cast<std::size_t>(next - intervals.begin())].messages;
  };
  for (const Transfer& transfer : transfers_of(schedule, times)) {
    place(transfer.from, transfer.time).push_back({Message::Kind::send, transfer.taker, transfer.to});
    place(transfer.to, transfer.time).push_back({Message::Kind::receive, transfer.taker, transfer.from});
  }
  return lowered;
}

}  // namespace athanor
