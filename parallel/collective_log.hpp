// Which collective every rank of this machine is in, or was in last: what a job that dies says of itself.
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
#include <string>
#include <string_view>

#include "parallel/fault.hpp"
#include "src/base/dtype.hpp"

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

/// One call, as the rank that makes it sees it.
struct CollectiveCall {
  Operation operation = Operation::barrier;
  bool of_tensors = true;   ///< else host messages
  std::string_view group;   ///< "tp"; at most 7 letters are kept
  std::int64_t number = 0;  ///< of the calls of this group, from 1: the same on all its ranks but for exchanges
  DType dtype = DType::u8;
  std::int64_t count = 0;  ///< elements
  int peer = -1;           ///< of an exchange: the other's rank in the group
};

/// What a record says.
struct CollectiveState {
  CollectiveCall call;  ///< its group lives in group_text
  char group_text[8] = {};
  std::int64_t calls = 0;  ///< so far, all groups together; 0: none yet
  bool finished = false;
  double seconds = 0.0;          ///< since it began, or where it has finished, since then
  std::int64_t step = 0;         ///< optimizer step under way; 0: none
  double longest_seconds = 0.0;  ///< of the calls in steps that finished
  bool failed = false;           ///< an exception left the step
  double failed_seconds = 0.0;   ///< since then
};

/// "all_reduce along tp, number 7, f32 x 4096, in step 3: begun 0.6 s ago and not finished"
std::string to_string(const CollectiveState& state);

class CollectiveLog {
 public:
  /// Collective over the job.
  explicit CollectiveLog(const HostGroup& world);
  ~CollectiveLog();
  CollectiveLog(const CollectiveLog&) = delete;
  CollectiveLog& operator=(const CollectiveLog&) = delete;

  // ---- written by the main thread

  /// Marks a call for as long as it lives; does nothing where `log` is null.
  class Call {
   public:
    /// @throws Error when a fault is due here.
    Call(CollectiveLog* log, const CollectiveCall& call);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    CollectiveLog* log_;
  };
  /// The same in two parts, for work that a stream runs later.
  void begin(const CollectiveCall& call);
  void end();

  /// Marks an optimizer step likewise. An exception that leaves it is a failure of this rank.
  class Step {
   public:
    /// @throws ConfigError when a fault was due in the step before and its call never came.
    Step(CollectiveLog* log, std::int64_t step);
    ~Step();
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    CollectiveLog* log_;
    int exceptions_;
  };

  /// The fault that this rank is to have, if it is the one; nothing: none.
  void set_fault(std::optional<Fault> fault);

  // ---- read by any thread

  /// Ranks of the job on this machine; `here` counts through them.
  int ranks_here() const { return ranks_here_; }
  int own() const { return own_; }
  int world_rank(int here) const;
  std::int64_t process(int here) const;
  /// Whether its process lives. True where that cannot be known.
  bool lives(int here) const;
  CollectiveState state(int here) const;

  /// Empty, or why the records of this machine's other ranks cannot be read.
  const std::string& refusal() const;

 private:
  struct Record;
  Record& record(int here) const;
  void fire_if_due(const CollectiveCall& call);

  int rank_, ranks_here_ = 1, own_ = 0;
  std::unique_ptr<NodeMemory> memory_;
  std::optional<Fault> fault_;
  std::int64_t fault_calls_ = 0;  ///< along its axis in its step so far
  std::int64_t last_step_ = 0;
  int depth_ = 0;
  std::int64_t begin_ns_ = 0;
};

}  // namespace athanor
