// One communicator of NCCL in its states: opening, ready, failed, closed. Law: NCCL's communicators are non-blocking,
// so no call of it holds this thread for ever: what is in progress is asked for until a deadline, and what fails or is
// late is aborted, never waited for. All failures have one text that names the call, the ranks, and the seconds.
//
// A link is used by one thread; abort() may come from the thread of NcclWatch. After a failure every call throws.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/collective_log.hpp"
#include "parallel/nccl/nccl_api.hpp"

namespace athanor {

/// Who talks on a link.
struct NcclMembers {
  std::string name;        ///< of the axis: "tp"; of a lane: "pp 0>1"
  std::vector<int> ranks;  ///< of the job, in the order of the group
  int own = 0;             ///< index of this rank
};

/// "all_reduce along tp, number 7, f32 x 4096"
std::string to_string(const CollectiveCall& call);

/// The one text of every failure. @param what  the call, or "opening the communicator".
std::string nccl_failure(const NcclMembers& members, const std::string& what, double seconds,
                         const std::string& reason);

class NcclLink {
 public:
  enum class State { opening, ready, failed, closed };

  /// Begins to open the communicator of `members` with an id that one of them made. Every member does.
  NcclLink(NcclApi& api, NcclMembers members, const NcclId& id);
  /// Begins to open a part of `parent`. Every rank of the parent does; one of colour kNoColor gets a closed link.
  /// @throws CommError when the parent does not come to it within `seconds`.
  NcclLink(NcclLink& parent, NcclMembers members, int color, int key, double seconds);
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;
  /// A ready link is finalized and destroyed, any other aborted; what fails then is logged.
  ~NcclLink();

  /// Waits until the communicator is open. @throws CommError when it fails or is not open after `seconds`.
  void await_open(double seconds);

  /// Makes calls of the table (a group of them, say) that enqueue `call`, and waits until they are enqueued.
  /// @throws CommError when NCCL refuses or has not enqueued it after `seconds`; the link has then failed.
  void issue(const CollectiveCall& call, double seconds, const std::function<NcclStatus(NcclHandle*)>& calls);

  /// Any thread. What NCCL says of the communicator beside its calls; empty while all is well.
  std::string asynchronous_error() const;
  /// Any thread. Ends what is under way here; later calls throw `why`. The first reason stays.
  void abort(const std::string& why) noexcept;

  State state() const { return state_; }
  const NcclMembers& members() const { return members_; }
  NcclApi& api() const { return api_; }

 private:
  void require_ready(const std::string& what) const;
  /// Waits while `status` is in_progress. @throws CommError otherwise than by success.
  void settle(NcclStatus status, const std::string& what, double seconds);
  void close() noexcept;

  NcclApi& api_;
  NcclMembers members_;
  NcclHandle* handle_ = nullptr;
  std::atomic<State> state_ = State::opening;
  NcclStatus opened_ = NcclStatus::success;  ///< what the opening call said
  mutable std::mutex mutex_;                 ///< of why_, and between abort and asynchronous_error
  std::string why_;
};

}  // namespace athanor
