// A pipeline schedule as data: what each rank computes, in order. Messages are not part of it: lower() derives them.
// Law: a chunk is a consecutive piece of the model, numbered from the input on over the whole pipeline; chunk_rank says
// who owns it, in any placement. Each micro-batch passes every chunk forward (F), then back: the gradient of the
// chunk's input (I), then that of its weights (W), in any order that the data allow.
//
// Text form, which reads back exactly:
//   schedule 1f1b ranks=2 chunks=2 micro_batches=2 placement=0,1
//   rank 0: 0F0 0F1 0B0 0B1
//   rank 1: 1F0 1B0 1F1 1B1
// An action is chunk, phase, micro-batch; an overlapped pair is written F&B ("0F3&7B1"). Empty lines do not count, and
// '#' begins a comment.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

enum class Phase : std::uint8_t {
  F,   ///< forward
  I,   ///< gradient of the input
  W,   ///< gradient of the weights; any time after I
  B,   ///< I, then W
  FB,  ///< F of one and B of another (chunk, micro-batch), overlapped
};

/// "F", "I", "W", "B", "F&B".
std::string_view letter(Phase phase);

struct Action {
  Phase phase = Phase::F;
  int chunk = 0, micro_batch = 0;        ///< FB: of its F
  int chunk_b = -1, micro_batch_b = -1;  ///< FB: of its B; else -1

  friend bool operator==(const Action&, const Action&) = default;
};

struct PipelineSchedule {
  std::string name;  ///< without blanks
  int num_ranks = 1, num_chunks = 1, num_micro_batches = 1;
  std::vector<int> chunk_rank;                     ///< owner of each chunk
  std::vector<std::vector<Action>> rank_programs;  ///< what each rank does, in order

  friend bool operator==(const PipelineSchedule&, const PipelineSchedule&) = default;
};

/// An action taken apart: F, I or W of one (chunk, micro-batch).
struct Part {
  Phase phase = Phase::F;
  int chunk = 0, micro_batch = 0;
  friend bool operator==(const Part&, const Part&) = default;
};
/// The one to three parts of an action, in the order in which they run.
struct Parts {
  Part list[3];
  int count = 0;
  const Part* begin() const { return list; }
  const Part* end() const { return list + count; }
};
Parts parts_of(const Action& action);

/// What must be done before a part may run: F of the chunk before; for I, F of the same and I of the chunk behind; for
/// W, I of the same. The chunk before the first and the one behind the last need nothing.
Parts needs_of(const Part& part, int num_chunks);

/// A value for each part of a schedule. Parts must be in range.
template <class T>
class PerPart {
 public:
  PerPart(const PipelineSchedule& schedule, const T& initial)
      : chunks_(static_cast<std::size_t>(schedule.num_chunks)),
        micro_batches_(static_cast<std::size_t>(schedule.num_micro_batches)),
        values_(3 * chunks_ * micro_batches_, initial) {}
  T& operator[](const Part& part) { return values_[index(part)]; }
  const T& operator[](const Part& part) const { return values_[index(part)]; }

 private:
  std::size_t index(const Part& part) const {
    return (static_cast<std::size_t>(part.phase) * chunks_ + static_cast<std::size_t>(part.chunk)) * micro_batches_ +
           static_cast<std::size_t>(part.micro_batch);
  }
  std::size_t chunks_, micro_batches_;
  std::vector<T> values_;
};

/// "0F3", "7B1", "0F3&7B1".
std::string to_text(const Action& action);
/// "F of chunk 3, micro-batch 7".
std::string to_words(const Part& part);
/// Header and one line a rank.
std::string to_text(const PipelineSchedule& schedule);

/// The schedule written in `text`. Whether it can run is the question of validate().
/// @param origin  the file's name, for messages.
/// @throws ConfigError naming origin, line and what was wanted there.
PipelineSchedule parse_schedule(std::string_view text, std::string_view origin);

}  // namespace athanor
