// Watches what is enqueued on the device: a collective whose other ranks never come would hold the stream, and with it
// this rank, for ever. Ten times a second a thread asks every link for errors and every call whether it has begun and
// ended; one that fails, or that has run longer than the deadline, fails the whole session: all links are aborted
// (their calls may wait for each other), which lets the stream go on with data that mean nothing, and every later call
// throws the reason. Where nobody has met that throw after kGraceSeconds, or an abort itself hangs (it can: NCCL issues
// 829, 1013), `give_up` ends the process, as the job's watchdog does.
//
// Law: the thread calls NCCL's async_error and abort and asks marks; nothing else of the device, and no MPI.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/nccl/nccl_link.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {

class NcclWatch {
 public:
  static constexpr double kGraceSeconds = 10.0;

  /// @param seconds  that a call may run on the device.   @param give_up  ends the process with this reason; from the
  /// thread.   @param grace_seconds  between a failure and that.
  NcclWatch(NcclApi& api, double seconds, std::function<void(const std::string&)> give_up,
            double grace_seconds = kGraceSeconds);
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

  void add(NcclLink& link);
  /// The link is about to die. Waits for an abort of it under way.
  void remove(NcclLink& link);

  struct Entry;
  /// Encloses what a call enqueues on `stream`.
  class Span {
   public:
    /// @throws CommError with the reason when the session has failed.
    Span(NcclWatch& watch, NcclLink& link, const CollectiveCall& call, Stream& stream);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    NcclWatch& watch_;
    Stream& stream_;
    std::list<Entry>::iterator entry_;
  };

  /// @throws CommError with the reason when the session has failed. The thread then knows that it has been met.
  void require_healthy();
  double seconds() const { return seconds_; }

  /// A call, until the device has gone past it.
  struct Entry {
    NcclLink* link;
    CollectiveCall call;
    std::unique_ptr<NcclMark> begin, end;
    bool is_enqueued = false, has_begun = false;
    Clock::time_point begun;  ///< when the thread saw that
  };

 private:
  void watch();
  /// @returns why the session fails now; empty: all is well.
  std::string look();
  /// Aborts all links and waits for the caller's thread to meet the reason; gives up where it does not.
  void fail(const std::string& why, std::unique_lock<std::mutex>& lock);
  std::unique_ptr<NcclMark> take_mark();

  NcclApi& api_;
  double seconds_, grace_seconds_;
  std::function<void(const std::string&)> give_up_;
  std::mutex abort_mutex_;  ///< held while links are aborted; before the next
  std::mutex mutex_;        ///< of all below
  std::vector<NcclLink*> links_;
  std::list<Entry> entries_;
  std::vector<std::unique_ptr<NcclMark>> free_marks_;
  std::string why_;
  bool met_ = false, aborted_ = false, stop_ = false;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace athanor
