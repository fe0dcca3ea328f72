#include "parallel/nccl/nccl_link.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <thread>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/stopwatch.hpp"

namespace athanor {
namespace {

constexpr double kCloseSeconds = 10.0;

/// Asks again at once for a while (a call is enqueued in microseconds), then a thousand times a second.
class Patience {
 public:
  void wait() {
    if (++asked_ < 1000)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  double seconds() const { return seconds_since(begin_); }

 private:
  Clock::time_point begin_ = Clock::now();
  int asked_ = 0;
};

}  // namespace

std::string to_string(const CollectiveCall& call) {
  std::string text = fmt::format("{} along {}, number {}", to_string(call.operation), call.group, call.number);
  if (call.count > 0) text += fmt::format(", {} x {}", to_string(call.dtype), call.count);
  if (call.peer >= 0) text += fmt::format(", with rank {} of {}", call.peer, call.group);
  return text;
}

std::string nccl_failure(const NcclMembers& members, const std::string& what, double seconds,
                         const std::string& reason) {
  const int own = members.ranks.at(static_cast<std::size_t>(members.own));
  return fmt::format(
      "nccl: {} on rank {} (ranks of the job in it: {}): {} after {:.1f} s. Another rank is gone, stands in another "
      "call, or the link between them is down: look at the log of each; NCCL_DEBUG=INFO says more",
      what, own, fmt::join(members.ranks, " "), reason, seconds);
}

NcclLink::NcclLink(NcclApi& api, NcclMembers members, const NcclId& id) : api_(api), members_(std::move(members)) {
  opened_ = api_.init(handle_, static_cast<int>(members_.ranks.size()), id, members_.own, members_.name.c_str());
}

NcclLink::NcclLink(NcclLink& parent, NcclMembers members, int color, int key, double seconds)
    : api_(parent.api_), members_(std::move(members)) {
  parent.require_ready("splitting the communicator");
  opened_ = api_.split(parent.handle_, color, key, handle_, members_.name.c_str());
  // The parent is busy until the split is made, for a rank that gets nothing as well.
  parent.state_ = State::opening;
  parent.settle(NcclStatus::in_progress, "splitting off the communicator along " + members_.name, seconds);
  parent.state_ = State::ready;
  if (color == NcclApi::kNoColor) state_ = State::closed;
}

NcclLink::~NcclLink() { close(); }

void NcclLink::await_open(double seconds) {
  if (state_ != State::opening) return;
  const std::string what = "opening the communicator along " + members_.name;
  settle(opened_, what, seconds);
  state_ = State::ready;
}

void NcclLink::require_ready(const std::string& what) const {
  if (state_ == State::ready) return;
  const std::lock_guard lock(mutex_);
  if (!why_.empty()) throw CommError(why_);
  throw CommError(nccl_failure(members_, what, 0.0, "the communicator is not open"));
}

void NcclLink::settle(NcclStatus status, const std::string& what, double seconds) {
  Patience patience;
  while (status == NcclStatus::in_progress && patience.seconds() < seconds) {
    {
      const std::lock_guard lock(mutex_);
      if (!why_.empty()) throw CommError(why_);
      const NcclStatus asked = api_.async_error(handle_, status);
      if (asked != NcclStatus::success) status = asked;
    }
    if (status == NcclStatus::in_progress) patience.wait();
  }
  if (status == NcclStatus::success) return;
  const std::string reason = status == NcclStatus::in_progress
                                 ? fmt::format("not done within the {:g} s that parallel.nccl_timeout allows", seconds)
                                 : api_.error_text(status, handle_);
  const std::string why = nccl_failure(members_, what, patience.seconds(), reason);
  abort(why);
  throw CommError(why);
}

void NcclLink::issue(const CollectiveCall& call, double seconds, const std::function<NcclStatus(NcclHandle*)>& calls) {
  NcclStatus status = NcclStatus::success;
  {
    const std::lock_guard lock(mutex_);  // the handle must not be aborted under the calls
    if (state_ == State::ready) status = calls(handle_);
  }
  if (state_ != State::ready) require_ready(to_string(call));
  if (status != NcclStatus::success) settle(status, to_string(call), seconds);
}

std::string NcclLink::asynchronous_error() const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || state_ != State::ready) return {};  // busy in a call: that one will say
  NcclStatus state = NcclStatus::success;
  const NcclStatus asked = api_.async_error(handle_, state);
  if (asked != NcclStatus::success) state = asked;
  if (state == NcclStatus::success || state == NcclStatus::in_progress) return {};
  return api_.error_text(state, handle_);
}

void NcclLink::abort(const std::string& why) noexcept {
  const std::lock_guard lock(mutex_);
  if (state_ == State::failed || state_ == State::closed) return;
  why_ = why;
  state_ = State::failed;
  if (handle_ != nullptr) api_.abort(std::exchange(handle_, nullptr));
}

void NcclLink::close() noexcept {
  if (state_ == State::opening) return abort("given up while it opened");
  if (state_ != State::ready) return;
  try {
    Patience patience;
    NcclStatus status = api_.finalize(handle_);
    while (status == NcclStatus::in_progress && patience.seconds() < kCloseSeconds)
      if (api_.async_error(handle_, status) == NcclStatus::success && status == NcclStatus::in_progress)
        patience.wait();
    if (status == NcclStatus::success) status = api_.destroy(std::exchange(handle_, nullptr));
    if (status == NcclStatus::success) {
      state_ = State::closed;
      return;
    }
    spdlog::warn("nccl: closing the communicator along {}: {}", members_.name, api_.error_text(status, nullptr));
  } catch (...) {
    // A destructor has nowhere else to say it.
  }
  abort("could not be closed");
}

}  // namespace athanor
