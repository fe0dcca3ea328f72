#include "parallel/pipeline/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Where a part stands; rank -1: nowhere.
struct Place {
  int rank = -1;
  int action = -1;
};

class Validator {
 public:
  explicit Validator(const PipelineSchedule& schedule) : schedule_(schedule) {}

  void run() {
    check_shape();
    PerPart<Place> places(schedule_, Place{});
    for (int rank = 0; rank < schedule_.num_ranks; ++rank)
      for (int action = 0; action < length(rank); ++action) enter(places, {rank, action});
    check_complete(places);
    check_progress(places);
  }

 private:
  const Action& at(const Place& place) const {
    return schedule_.rank_programs[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(place.action)];
  }
  int length(int rank) const {
    return static_cast<int>(schedule_.rank_programs[static_cast<std::size_t>(rank)].size());
  }
  std::string name_of(const Place& place) const {
    return fmt::format("rank {}, action {} ({})", place.rank, place.action, to_text(at(place)));
  }
  [[noreturn]] void refuse(const std::string& text) const {
    throw ConfigError(fmt::format("schedule {}: {}", schedule_.name, text));
  }

  void check_shape() const {
    const auto [name, ranks, chunks, micro_batches, chunk_rank, programs] = schedule_;
    if (ranks < 1 || chunks < 1 || micro_batches < 1)
      refuse(fmt::format("wanted at least one rank, chunk and micro-batch; found {}, {} and {}", ranks, chunks,
                         micro_batches));
    if (programs.size() != static_cast<std::size_t>(ranks) || chunk_rank.size() != static_cast<std::size_t>(chunks))
      refuse(fmt::format("wanted a program for each of {} ranks and an owner for each of {} chunks; found {} and {}",
                         ranks, chunks, programs.size(), chunk_rank.size()));
    // Before anything is allocated for what a header promises.
    std::int64_t actions = 0;
    for (const auto& program : programs) actions += static_cast<std::int64_t>(program.size());
    if (actions < std::int64_t{chunks} * micro_batches)
      refuse(fmt::format("{} chunks and {} micro-batches want {} forwards, and there are but {} actions", chunks,
                         micro_batches, std::int64_t{chunks} * micro_batches, actions));
    std::vector<int> owned(static_cast<std::size_t>(ranks));
    for (std::size_t chunk = 0; chunk < chunk_rank.size(); ++chunk) {
      if (chunk_rank[chunk] < 0 || chunk_rank[chunk] >= ranks)
        refuse(fmt::format("chunk {} is placed on rank {}; wanted a rank from 0 to {}", chunk, chunk_rank[chunk],
                           ranks - 1));
      ++owned[static_cast<std::size_t>(chunk_rank[chunk])];
    }
    for (std::size_t rank = 0; rank < owned.size(); ++rank)
      if (owned[rank] == 0) refuse(fmt::format("rank {} owns no chunk; place one there or take fewer ranks", rank));
  }

  /// Enters the parts of an action into the table, refusing what does not belong there.
  void enter(PerPart<Place>& places, const Place& place) const {
    for (const Part& part : parts_of(at(place))) {
      const auto [phase, chunk, micro_batch] = part;
      if (chunk < 0 || chunk >= schedule_.num_chunks)
        refuse(
            fmt::format("{}: there is no chunk {}; wanted 0 to {}", name_of(place), chunk, schedule_.num_chunks - 1));
      if (micro_batch < 0 || micro_batch >= schedule_.num_micro_batches)
        refuse(fmt::format("{}: there is no micro-batch {}; wanted 0 to {}", name_of(place), micro_batch,
                           schedule_.num_micro_batches - 1));
      if (const int owner = schedule_.chunk_rank[static_cast<std::size_t>(chunk)]; owner != place.rank)
        refuse(fmt::format("{}: chunk {} belongs to rank {}", name_of(place), chunk, owner));
      Place& entry = places[part];
      if (entry.rank >= 0)
        refuse(fmt::format("{}: {} is done already by {}", name_of(place), to_words(part), name_of(entry)));
      entry = place;
      if (phase == Phase::I) require_before(places, {Phase::F, chunk, micro_batch}, place);
      if (phase == Phase::W) require_before(places, {Phase::I, chunk, micro_batch}, place);
    }
    const Action& action = at(place);
    if (action.phase == Phase::FB && action.chunk == action.chunk_b && action.micro_batch == action.micro_batch_b)
      refuse(fmt::format("{}: an overlapped pair wants F and B of different chunks or micro-batches", name_of(place)));
  }

  void require_before(const PerPart<Place>& places, const Part& part, const Place& place) const {
    if (places[part].rank < 0)
      refuse(fmt::format("{}: wanted {} before it; this rank has not done it by then", name_of(place), to_words(part)));
  }

  void check_complete(const PerPart<Place>& places) const {
    for (int chunk = 0; chunk < schedule_.num_chunks; ++chunk)
      for (int micro_batch = 0; micro_batch < schedule_.num_micro_batches; ++micro_batch)
        for (const Phase phase : {Phase::F, Phase::I, Phase::W})
          if (const Part part{phase, chunk, micro_batch}; places[part].rank < 0)
            refuse(fmt::format("rank {} never does {}; wanted F, I and W (or B) of every chunk and micro-batch",
                               schedule_.chunk_rank[static_cast<std::size_t>(chunk)], to_words(part)));
  }

  /// Runs all programs until nothing moves.
  void check_progress(const PerPart<Place>& places) const {
    std::vector<int> next(static_cast<std::size_t>(schedule_.num_ranks), 0);
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < schedule_.num_ranks; ++rank)
        for (int& action = next[static_cast<std::size_t>(rank)];
             action < length(rank) && !waits_for(places, next, {rank, action}); ++action)
          moved = true;
    }
    for (int rank = 0; rank < schedule_.num_ranks; ++rank)
      if (next[static_cast<std::size_t>(rank)] < length(rank)) refuse_cycle(places, next, rank);
  }

  /// A part that the action needs and that is not done; none when it can run. A part of the action itself may be it.
  std::optional<Part> waits_for(const PerPart<Place>& places, const std::vector<int>& next, const Place& place) const;
  [[noreturn]] void refuse_cycle(const PerPart<Place>& places, const std::vector<int>& next, int rank) const;

  const PipelineSchedule& schedule_;
};

std::optional<Part> Validator::waits_for(const PerPart<Place>& places, const std::vector<int>& next,
                                         const Place& place) const {
  const Action& action = at(place);
  for (const Part& part : parts_of(action))
    for (const Part& need : needs_of(part, schedule_.num_chunks)) {
      const Place& source = places[need];
      // W's I stands in the same B; nothing else may be met inside an action.
      const bool inside = source.rank == place.rank && source.action == place.action && part.phase == Phase::W;
      if (!inside && source.action >= next[static_cast<std::size_t>(source.rank)]) return need;
    }
  return std::nullopt;
}

void Validator::refuse_cycle(const PerPart<Place>& places, const std::vector<int>& next, int rank) const {
  // Each rank that stands waits for one that stands too; following them must lead back.
  std::vector<int> seen;
  while (std::find(seen.begin(), seen.end(), rank) == seen.end()) {
    seen.push_back(rank);
    rank = places[*waits_for(places, next, {rank, next[static_cast<std::size_t>(rank)]})].rank;
  }
  seen.erase(seen.begin(), std::find(seen.begin(), seen.end(), rank));
  std::string text = "deadlock:";
  for (const int waiting : seen) {
    const Place place{waiting, next[static_cast<std::size_t>(waiting)]};
    const auto need = waits_for(places, next, place);
    text += fmt::format("\n  {} waits for {}: {}", name_of(place), to_words(*need), name_of(places[*need]));
  }
  refuse(text);
}

}  // namespace

void validate(const PipelineSchedule& schedule) { Validator(schedule).run(); }

std::vector<int> peak_activations(const PipelineSchedule& schedule) {
  std::vector<int> peaks;
  for (const auto& program : schedule.rank_programs) {
    int held = 0, peak = 0;
    for (const Action& action : program)
      for (const Part& part : parts_of(action)) {
        if (part.phase == Phase::F) peak = std::max(peak, ++held);
        if (part.phase == Phase::W) --held;
      }
    peaks.push_back(peak);
  }
  return peaks;
}

}  // namespace athanor
