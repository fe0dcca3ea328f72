#include "src/base/span.hpp"

#include <algorithm>
#include <mutex>

namespace athanor {
namespace {

constexpr std::size_t kSeats = 2;
std::array<std::atomic<SpanWatcher*>, kSeats> watchers{};
std::mutex seats;

template <class Tell>
void tell_all(const Tell& tell) noexcept {
  for (const auto& seat : watchers)
    if (SpanWatcher* watcher = seat.load(std::memory_order_acquire)) tell(*watcher);
}

}  // namespace

std::string_view to_string(SpanKind kind) {
  constexpr std::array<std::string_view, 8> names = {"step", "compute",   "communication", "pipeline",
                                                     "data", "optimizer", "checkpoint",    "rollout"};
  return names[static_cast<std::size_t>(kind)];
}

SpanInfo::SpanInfo(SpanKind with_kind, std::string_view with_name, std::string_view with_of,
                   std::initializer_list<SpanNumber> list)
    : kind(with_kind), name(with_name), of(with_of), num_numbers(std::min(list.size(), kMostNumbers)) {
  std::copy_n(list.begin(), num_numbers, numbers.begin());
}

namespace spans {

void set_watcher(Seat seat, SpanWatcher* watcher) {
  const std::lock_guard lock(seats);
  watchers[static_cast<std::size_t>(seat)].store(watcher, std::memory_order_release);
  num_watchers = static_cast<int>(
      std::count_if(watchers.begin(), watchers.end(), [](const auto& other) { return other.load() != nullptr; }));
}

void tell_begin(const SpanInfo& span) noexcept {
  tell_all([&](SpanWatcher& watcher) { watcher.begin(span); });
}

void tell_end(const SpanInfo& span, Clock::time_point began) noexcept {
  tell_all([&](SpanWatcher& watcher) { watcher.end(span, began); });
}

void tell_ran(const SpanInfo& span, const void* row, Clock::time_point began, Clock::time_point ended) noexcept {
  tell_all([&](SpanWatcher& watcher) { watcher.ran(span, row, began, ended); });
}

}  // namespace spans
}  // namespace athanor
