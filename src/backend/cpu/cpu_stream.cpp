#include "src/backend/cpu/cpu_stream.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <limits>
#include <new>

#include "src/backend/cpu/cpu_arena.hpp"
#include "src/base/error.hpp"

namespace athanor::cpu {

// ---- guarded stream

GuardedStream::~GuardedStream() {
  // Work that nobody waited for never runs: on a GPU its result would be lost as well.
}

void GuardedStream::enqueue_host(std::function<void()> work) {
  queue_.push_back(std::move(work));
  ++enqueued_;
}

void GuardedStream::synchronize() { run_until(enqueued_); }

void GuardedStream::run_until(std::int64_t ticket) {
  arena_.open();
  try {
    while (done_ < ticket && !queue_.empty()) {
      auto work = std::move(queue_.front());
      queue_.pop_front();
      ++done_;
      work();
    }
  } catch (...) {
    arena_.close();
    throw;
  }
  arena_.close();
}

void GuardedStream::record(Event& event) {
  auto& mark = static_cast<GuardedEvent&>(event);
  mark.stream = this;
  mark.ticket = enqueued_;
}

void GuardedStream::wait(const Event& event) {
  const auto& mark = static_cast<const GuardedEvent&>(event);
  if (mark.stream == nullptr || mark.stream == this) return;
  enqueue_host([stream = mark.stream, ticket = mark.ticket] { stream->run_until(ticket); });
}

// ---- arenas

std::byte* CpuArena::system_allocate(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  void* data = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (data && bytes >= kHugePage) ::madvise(data, bytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(data);
}

void CpuArena::system_free(std::byte* data, std::size_t) noexcept { std::free(data); }

namespace {
constexpr std::size_t kGuardedRange = std::size_t{64} << 30;  // addresses, not memory
constexpr std::size_t kPage = 4096;
}  // namespace

GuardedArena::GuardedArena() {
  void* range = ::mmap(nullptr, kGuardedRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED)
    throw Error("cpu-guarded: could not reserve 64 GiB of addresses; raise `ulimit -v` or use run.device=cpu");
  base_ = static_cast<std::byte*>(range);
}

GuardedArena::~GuardedArena() {
  release_cached();
  ::munmap(base_, kGuardedRange);
}

void GuardedArena::open() {
  if (open_depth_++ == 0 && used_bytes_ > 0) ::mprotect(base_, used_bytes_, PROT_READ | PROT_WRITE);
}

void GuardedArena::close() {
  if (--open_depth_ == 0 && used_bytes_ > 0) ::mprotect(base_, used_bytes_, PROT_NONE);
}

std::byte* GuardedArena::system_allocate(std::size_t bytes) {
  const std::size_t rounded = (bytes + kPage - 1) / kPage * kPage;
  if (used_bytes_ + rounded > kGuardedRange) return nullptr;
  std::byte* data = base_ + used_bytes_;
  // New memory is all ones: NaN in every floating type, so that reading before writing is seen.
  ::mprotect(data, rounded, PROT_READ | PROT_WRITE);
  std::fill_n(data, rounded, std::byte{0xff});
  used_bytes_ += rounded;
  if (open_depth_ == 0) ::mprotect(data, rounded, PROT_NONE);
  return data;
}

void GuardedArena::system_free(std::byte*, std::size_t) noexcept {
  // Addresses are not reused: a stale pointer stays unreadable.
}

}  // namespace athanor::cpu
