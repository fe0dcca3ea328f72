#include "parallel/nccl/nccl_watch.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "src/base/error.hpp"

namespace athanor {
namespace {
constexpr std::chrono::milliseconds kLookEvery{100};
}

NcclWatch::NcclWatch(NcclApi& api, double seconds, std::function<void(const std::string&)> give_up,
                     double grace_seconds)
    : api_(api), seconds_(seconds), grace_seconds_(grace_seconds), give_up_(std::move(give_up)) {
  thread_ = std::thread([this] { watch(); });
}

NcclWatch::~NcclWatch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void NcclWatch::add(NcclLink& link) {
  const std::lock_guard lock(mutex_);
  links_.push_back(&link);
}

void NcclWatch::remove(NcclLink& link) {
  const std::lock_guard abort_lock(abort_mutex_);
  const std::lock_guard lock(mutex_);
  std::erase(links_, &link);
  entries_.remove_if([&](const Entry& entry) { return entry.link == &link; });
}

void NcclWatch::require_healthy() {
  const std::lock_guard lock(mutex_);
  if (why_.empty()) return;
  met_ = true;
  wake_.notify_all();
  throw CommError(why_);
}

// ---- spans

std::unique_ptr<NcclMark> NcclWatch::take_mark() {
  if (free_marks_.empty()) return api_.make_mark();
  std::unique_ptr<NcclMark> mark = std::move(free_marks_.back());
  free_marks_.pop_back();
  return mark;
}

NcclWatch::Span::Span(NcclWatch& watch, NcclLink& link, const CollectiveCall& call, Stream& stream)
    : watch_(watch), stream_(stream) {
  watch_.require_healthy();
  const std::lock_guard lock(watch_.mutex_);
  Entry entry{.link = &link, .call = call, .begin = watch_.take_mark(), .end = watch_.take_mark(), .begun = {}};
  entry.begin->record(stream_);
  entry_ = watch_.entries_.insert(watch_.entries_.end(), std::move(entry));
}

NcclWatch::Span::~Span() {
  const std::lock_guard lock(watch_.mutex_);
  try {
    entry_->end->record(stream_);
    entry_->is_enqueued = true;
  } catch (const std::exception& error) {
    spdlog::warn("nccl: {} is no longer watched: {}", to_string(entry_->call), error.what());
    watch_.entries_.erase(entry_);
  }
}

// ---- the thread

void NcclWatch::watch() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kLookEvery, [this] { return stop_; }))
    if (const std::string why = look(); !why.empty()) return fail(why, lock);
}

std::string NcclWatch::look() {
  for (const NcclLink* link : links_)
    if (const std::string reason = link->asynchronous_error(); !reason.empty())
      return nccl_failure(link->members(), "the communicator along " + link->members().name, 0.0, reason);
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->is_enqueued && entry->end->passed()) {
      free_marks_.push_back(std::move(entry->begin));
      free_marks_.push_back(std::move(entry->end));
      entry = entries_.erase(entry);
      continue;
    }
    if (!entry->has_begun && entry->begin->passed()) {
      entry->has_begun = true;
      entry->begun = Clock::now();
    }
    if (entry->has_begun && seconds_since(entry->begun) > seconds_)
      return nccl_failure(
          entry->link->members(), to_string(entry->call), seconds_since(entry->begun),
          fmt::format("begun on the device and not ended within the {:g} s of parallel.nccl_timeout", seconds_));
    ++entry;
  }
  return {};
}

void NcclWatch::fail(const std::string& why, std::unique_lock<std::mutex>& lock) {
  spdlog::error("{}", why);
  why_ = why;
  std::thread aborting([this, why] {
    const std::lock_guard abort_lock(abort_mutex_);
    std::vector<NcclLink*> links;
    {
      const std::lock_guard own_lock(mutex_);
      links = links_;
    }
    for (NcclLink* link : links) link->abort(why);
    const std::lock_guard own_lock(mutex_);
    aborted_ = true;
    wake_.notify_all();
  });
  const bool heard = wake_.wait_for(lock, std::chrono::duration<double>(grace_seconds_),
                                    [this] { return aborted_ && (met_ || stop_); });
  lock.unlock();
  if (!heard) give_up_(why);
  aborting.join();
  lock.lock();
}

}  // namespace athanor
