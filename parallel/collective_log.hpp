// Which collective every rank of this machine is in, or was in last, and in which phase: what a job that dies says of
// itself.
// Law: one record a rank, written by its main thread at the begin and the end of each call and read at any instant by
// other threads and by the other ranks of the machine, so that a rank killed outright can still be told about. Neither
// side takes a lock or memory. A call inside another (the host messages of a checked collective) belongs to the outer
// one; what destructors call while an exception unwinds is not recorded: the record stays where the rank failed.
//
// The idea is that of PyTorch's NCCL flight recorder, cut down to the last entry.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/deadlines.hpp"
#include "parallel/fault.hpp"
#include "parallel/job_phase.hpp"
#include "src/base/dtype.hpp"
#include "src/base/span.hpp"

namespace athanor {

class HostGroup;
class NodeMemory;

enum class Operation : std::uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  all_to_all_v,
  broadcast,
  gather,
  barrier,
  exchange,
  start_exchange,
  finish_receive,
  finish_sends
};
std::string_view to_string(Operation operation);

/// The ranks of the job that make up a group, in its order.
struct GroupMembers {
  std::vector<int> world_ranks;
  std::int64_t key = 0;  ///< the same number for the same ranks, in every process
  bool operator<(const GroupMembers& other) const { return world_ranks < other.world_ranks; }
};

/// One call, as the rank that makes it sees it.
struct CollectiveCall {
  Operation operation = Operation::barrier;
  bool of_tensors = true;   ///< else host messages
  std::string_view group;   ///< "tp"; at most 7 letters are kept
  std::int64_t number = 0;  ///< of the calls of this group, from 1: the same on all its ranks but for exchanges
  DType dtype = DType::u8;
  std::int64_t count = 0;                 ///< elements
  int peer = -1;                          ///< of an exchange: the other's rank in the group
  const GroupMembers* members = nullptr;  ///< of the log's own (CollectiveLog::members_of); null: not known
};

/// What a record says.
struct CollectiveState {
  CollectiveCall call;  ///< its group lives in group_text, its members in members_key
  char group_text[8] = {};
  std::int64_t members_key = 0;  ///< 0: not known
  std::int64_t events = 0;       ///< grows with every begin and end of a call or phase
  JobPhase phase = JobPhase::starting;
  std::int64_t calls = 0;  ///< so far, all groups together; 0: none yet
  bool finished = false;
  double seconds = 0.0;          ///< since it began, or where it has finished, since then
  std::int64_t step = 0;         ///< optimizer step under way; 0: none
  double longest_seconds = 0.0;  ///< of the calls in steps that finished
  bool failed = false;           ///< an exception left the step
  double failed_seconds = 0.0;   ///< since then
};

/// "all_reduce along tp, number 7, f32 x 4096 (16384 bytes), in step 3: begun 0.6 s ago and not finished"; outside a
/// step the phase stands there.
std::string to_string(const CollectiveState& state);
/// Whether both stand in the same call of the same group.
bool in_same_call(const CollectiveState& a, const CollectiveState& b);

class CollectiveLog {
 public:
  /// Collective over the job.
  explicit CollectiveLog(const HostGroup& world);
  ~CollectiveLog();
  CollectiveLog(const CollectiveLog&) = delete;
  CollectiveLog& operator=(const CollectiveLog&) = delete;

  // ---- written by the main thread

  /// Marks a call for as long as it lives, for `log` unless it is null, and as a span.
  class Call {
   public:
    /// @throws Error when a fault is due here.
    Call(CollectiveLog* log, const CollectiveCall& call);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    CollectiveLog* log_;
    Span span_;
  };
  /// The same in two parts, for work that a stream runs later.
  void begin(const CollectiveCall& call);
  void end();

  /// Marks a phase for as long as it lives; does nothing where `log` is null. One that an exception leaves stays
  /// marked.
  class InPhase {
   public:
    InPhase(CollectiveLog* log, JobPhase phase);
    ~InPhase();
    InPhase(const InPhase&) = delete;
    InPhase& operator=(const InPhase&) = delete;

   private:
    CollectiveLog* log_;
    JobPhase before_ = JobPhase::starting;
    int exceptions_;
  };

  /// Marks an optimizer step likewise, and its phase. An exception that leaves it is a failure of this rank.
  class Step {
   public:
    /// @throws ConfigError when a fault was due in the step before and its call never came.
    Step(CollectiveLog* log, std::int64_t step);
    ~Step();
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    CollectiveLog* log_;
    InPhase phase_;
    int exceptions_;
  };

  /// The fault that this rank is to have, if it is the one; nothing: none. One that is given again goes on counting.
  /// @throws ConfigError where the one before never came.
  void set_fault(std::optional<Fault> fault);
  /// Called by the thread that writes a shard, before it does: for faults of JobPhase::writing.
  void before_writing();
  /// Whether the loss of this step is to be no number here.
  bool spoils_loss(std::int64_t step);

  /// The ranks of a group, kept as long as this. @param world_ranks  in the group's order.
  const GroupMembers* members_of(std::vector<int> world_ranks);
  Deadlines& deadlines() { return deadlines_; }
  /// Time that calls have taken so far, waiting for the others included, nanoseconds. For the main thread.
  std::int64_t nanoseconds_in_calls() const { return in_calls_ns_; }

  // ---- read by any thread

  /// Ranks of the job on this machine; `here` counts through them.
  int ranks_here() const { return ranks_here_; }
  int own() const { return own_; }
  int world_rank(int here) const;
  std::int64_t process(int here) const;
  /// Whether its process lives. True where that cannot be known.
  bool lives(int here) const;
  CollectiveState state(int here) const;
  /// How long this rank may go on standing where `state`, its own, says.
  Deadlines::Limit limit(const CollectiveState& state) const;
  /// The members of this rank's last call; null where they are not known.
  const GroupMembers* own_members() const { return members_; }
  /// Asks a rank of this machine to tell its stack, and whether this one was asked; asking is over then.
  void want_stack(int here);
  bool stack_is_wanted();

  /// Empty, or why the records of this machine's other ranks cannot be read.
  const std::string& refusal() const;

 private:
  struct Record;
  Record& record(int here) const;
  /// Whether the fault is to come at this call; counts.
  bool is_due_at(const CollectiveCall& call);
  /// @returns the phase before.
  JobPhase change_phase(JobPhase phase);
  void note(JobPhase phase, std::size_t kind, std::int64_t until_ns);

  int rank_, ranks_here_ = 1, own_ = 0;
  std::unique_ptr<NodeMemory> memory_;
  Deadlines deadlines_;
  std::set<GroupMembers> members_of_groups_;
  std::atomic<const GroupMembers*> members_{nullptr};
  std::optional<Fault> fault_;
  std::int64_t fault_calls_ = 0;   ///< along its axis in its step, or in its phase, so far
  std::atomic<bool> met_ = false;  ///< the fault has come
  std::int64_t last_step_ = 0;
  int depth_ = 0;
  std::int64_t mark_ns_ = 0;  ///< begin or end of a call or phase, the last one
  std::int64_t in_calls_ns_ = 0;
};

}  // namespace athanor
