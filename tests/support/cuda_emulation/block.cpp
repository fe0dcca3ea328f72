#include "tests/support/cuda_emulation/block.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/cuda_emulation/fiber.hpp"
#include "tests/support/cuda_emulation/streams.hpp"

namespace emulation {
namespace {

constexpr unsigned kWarp = 32, kMostThreads = 1024;
constexpr std::size_t kMostSharedBytes = 227 * 1024;  // of a block on Hopper
constexpr std::size_t kPage = 4096;

enum class State { ready, at_barrier, at_warp_operation, at_condition, refused, exited };

/// What a thread waits with.
struct Request {
  unsigned mask = 0;
  const void* mine = nullptr;
  std::size_t bytes = 0;
  int source = 0;  ///< lane to read, or kAllLanes
  void* result = nullptr;
};
constexpr int kAllLanes = -1;

struct Thread {
  Fiber fiber;
  uint3 index{};
  State state = State::exited;
  Request request;
  bool (*holds)(const void*) = nullptr;  ///< the condition it waits for
  const void* what = nullptr;
  std::string refusal;
  int brought = 0, received = 0;  ///< at a barrier
  std::source_location where;
};

std::string place(const std::source_location& where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line());
}
std::string triple(const uint3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}
bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

/// Dynamic shared memory: its end lies at a page that cannot be touched, but for what alignment takes; those bytes
/// have a pattern that is looked at after each block.
class SharedMemory {
 public:
  SharedMemory() {
    const std::size_t room = rounded(kMostSharedBytes) + 2 * kPage;
    void* memory = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no memory for the shared memory of an emulated GPU");
    auto* begin = static_cast<std::byte*>(memory);
    end_ = begin + room - kPage;
    ::mprotect(end_, kPage, PROT_NONE);
  }
  void start(std::size_t bytes) {
    bytes_ = bytes;
    slack_ = (bytes + kAlignment - 1) / kAlignment * kAlignment - bytes;
    std::fill_n(data(), bytes_, std::byte{0xff});
    std::fill_n(data() + bytes_, slack_, kPattern);
  }
  bool intact() const {
    return std::all_of(end_ - slack_, end_, [](std::byte byte) { return byte == kPattern; });
  }
  std::byte* data() const { return end_ - slack_ - bytes_; }
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kAlignment = 128;
  static constexpr std::byte kPattern{0xa5};
  static std::size_t rounded(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }
  std::byte* end_;
  std::size_t bytes_ = 0, slack_ = 0;
};

/// What runs at present. One kernel at a time: streams.cpp holds a lock around it.
struct Machine {
  std::vector<std::unique_ptr<Thread>> threads;  ///< as many as the largest block had
  SharedMemory shared;
  const Grid* grid = nullptr;
  const std::function<void()>* body = nullptr;
  Thread* running = nullptr;
  std::vector<std::function<void()>> put_off;
  std::mt19937 random{seed()};

  static unsigned seed() {
    const char* text = std::getenv("ATHANOR_EMULATION_SEED");
    return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 1U;
  }
};
Machine& machine() {
  static Machine one;
  return one;
}

void run_thread() {
  Machine& m = machine();
  (*m.body)();
  m.running->state = State::exited;
  m.running->fiber.suspend();
  std::abort();  // an exited thread is not resumed
}

/// The threads of one block until all have exited.
class Block {
 public:
  Block(const uint3& index, unsigned count) : m_(machine()), index_(index), count_(count) {}

  /// @throws std::runtime_error that names the kernel and the places of a divergence.
  void run() {
    m_.shared.start(m_.grid->shared_bytes);
    m_.put_off.clear();
    const dim3& size = m_.grid->block;
    here = {{}, index_, size, m_.grid->grid};
    for (unsigned t = 0; t < count_; ++t) {
      thread(t).index = {t % size.x, t / size.x % size.y, t / size.x / size.y};
      thread(t).fiber.restart(run_thread);
      thread(t).state = State::ready;
    }
    const unsigned warps = (count_ + kWarp - 1) / kWarp;
    std::vector<unsigned> order(warps);
    std::iota(order.begin(), order.end(), 0U);
    for (;;) {
      std::shuffle(order.begin(), order.end(), m_.random);
      bool progress = false;
      for (const unsigned warp : order) progress = run_warp(warp) || progress;
      if (!progress && !do_put_off() && !release_barrier()) break;
    }
    if (!m_.put_off.empty()) fail("ended before copies that it had started");
    if (!m_.shared.intact()) fail("wrote behind its dynamic shared memory");
  }

 private:
  Thread& thread(unsigned t) { return *m_.threads[t]; }

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("the kernel launched at " + place(m_.grid->where) + ", block " + triple(index_) + ": " +
                             what);
  }
  std::string told(unsigned t) {
    const Thread& other = thread(t);
    std::string text = "thread " + std::to_string(t);
    if (other.state == State::exited) return text + " has exited";
    const char* how = other.state == State::at_barrier     ? "at a barrier at "
                      : other.state == State::at_condition ? "for a condition at "
                                                           : "in its warp at ";
    return text + " waits " + how + place(other.where);
  }

  void run_thread_until_it_waits(unsigned t) {
    here.thread = thread(t).index;
    m_.running = &thread(t);
    m_.running->fiber.resume();
    if (thread(t).state == State::refused) fail("thread " + std::to_string(t) + ": " + thread(t).refusal);
  }

  /// Runs a warp until none of its threads can go on without other warps. @returns whether any did.
  bool run_warp(unsigned warp) {
    const unsigned begin = warp * kWarp, end = std::min(begin + kWarp, count_);
    bool progress = false;
    for (;;) {
      for (unsigned t = begin; t < end; ++t) {
        if (thread(t).state == State::at_condition && thread(t).holds(thread(t).what)) thread(t).state = State::ready;
        if (thread(t).state != State::ready) continue;
        progress = true;
        run_thread_until_it_waits(t);
      }
      unsigned waiting = end;
      bool released = false;
      for (unsigned t = begin; t < end && !released; ++t)
        if (thread(t).state == State::at_warp_operation) {
          waiting = std::min(waiting, t);
          released = release_lanes(begin, end, t);
        }
      if (released) continue;
      // Lanes that wait for a condition may yet come to where the others are.
      if (waiting == end || waits_for_condition(begin, end)) return progress;
      diverged_lanes(begin, end, waiting);
    }
  }

  bool waits_for_condition(unsigned begin, unsigned end) {
    for (unsigned t = begin; t < end; ++t)
      if (thread(t).state == State::at_condition) return true;
    return false;
  }

  /// One of the things put off. @returns whether there was any.
  bool do_put_off() {
    if (m_.put_off.empty()) return false;
    const auto chosen = m_.put_off.begin() + static_cast<std::ptrdiff_t>(m_.random() % m_.put_off.size());
    const auto work = std::move(*chosen);
    m_.put_off.erase(chosen);
    work();
    return true;
  }

  bool together(const Thread& a, const Thread& b) const {
    return b.state == State::at_warp_operation && b.request.mask == a.request.mask &&
           b.request.bytes == a.request.bytes && same_place(a.where, b.where);
  }

  /// Does the operation that lane `first` waits in, if all its lanes have come.
  bool release_lanes(unsigned begin, unsigned end, unsigned first) {
    const Thread& one = thread(first);
    const unsigned mask = one.request.mask;
    if ((mask >> (first - begin) & 1U) == 0) fail(told(first) + " with a mask that leaves it out");
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if ((mask >> lane & 1U) != 0 && (begin + lane >= end || !together(one, thread(begin + lane)))) return false;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((mask >> lane & 1U) == 0) continue;
      const Request& request = thread(begin + lane).request;
      if (request.bytes == 0) continue;
      if (request.source == kAllLanes) {
        for (unsigned from = 0; from < kWarp; ++from)
          std::memcpy(static_cast<std::byte*>(request.result) + from * request.bytes, thread(begin + from).request.mine,
                      request.bytes);
        continue;
      }
      const auto from = static_cast<unsigned>(request.source);
      if ((mask >> from & 1U) == 0)
        fail(told(begin + lane) + " and reads lane " + std::to_string(from) + ", which its mask leaves out");
      std::memcpy(request.result, thread(begin + from).request.mine, request.bytes);
    }
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if ((mask >> lane & 1U) != 0) thread(begin + lane).state = State::ready;
    return true;
  }

  [[noreturn]] void diverged_lanes(unsigned begin, unsigned end, unsigned first) {
    const unsigned mask = thread(first).request.mask;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((mask >> lane & 1U) == 0) continue;
      if (begin + lane >= end) fail(told(first) + " for a lane that the block does not have");
      if (!together(thread(first), thread(begin + lane)))
        fail("threads diverged: " + told(first) + ", but " + told(begin + lane));
    }
    fail(told(first));
  }

  /// Lets a barrier's threads go on. @returns whether any thread is left.
  bool release_barrier() {
    unsigned first = count_, sum = 0;
    for (unsigned t = 0; t < count_ && first == count_; ++t)
      if (thread(t).state != State::exited) first = t;
    if (first == count_) return false;
    if (thread(first).state != State::at_barrier) fail("nothing can go on: " + told(first));
    for (unsigned t = 0; t < count_; ++t) {
      if (thread(t).state != State::at_barrier || !same_place(thread(t).where, thread(first).where))
        fail("threads diverged: " + told(first) + ", but " + told(t));
      sum += static_cast<unsigned>(thread(t).brought);
    }
    for (unsigned t = 0; t < count_; ++t) {
      thread(t).received = static_cast<int>(sum);
      thread(t).state = State::ready;
    }
    return true;
  }

  Machine& m_;
  uint3 index_;
  unsigned count_;
};

void run_grid(const Grid& grid, const std::function<void()>& body) {
  Machine& m = machine();
  m.grid = &grid;
  m.body = &body;
  const unsigned count = grid.block.x * grid.block.y * grid.block.z;
  while (m.threads.size() < count) m.threads.push_back(std::make_unique<Thread>());
  std::vector<unsigned> blocks(grid.grid.x * grid.grid.y * grid.grid.z);
  std::iota(blocks.begin(), blocks.end(), 0U);
  std::shuffle(blocks.begin(), blocks.end(), m.random);
  for (const unsigned b : blocks)
    Block({b % grid.grid.x, b / grid.grid.x % grid.grid.y, b / grid.grid.x / grid.grid.y}, count).run();
}

/// Gives the running thread's turn back with a request.
void wait_with(Thread& self, State state, const std::source_location& where) {
  self.state = state;
  self.where = where;
  self.fiber.suspend();
}

}  // namespace

int block_barrier(int mine, const std::source_location& where) {
  Thread& self = *machine().running;
  self.brought = mine;
  wait_with(self, State::at_barrier, where);
  return self.received;
}

void shuffle(unsigned mask, const void* mine, std::size_t bytes, int source, void* result,
             const std::source_location& where) {
  Thread& self = *machine().running;
  self.request = {mask, mine, bytes, source, result};
  wait_with(self, State::at_warp_operation, where);
}

unsigned ballot(unsigned mask, bool mine, const std::source_location& where) {
  // Lanes outside the mask are not here to be read: each lane of the mask reads the others one by one.
  unsigned lanes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1U) == 0) continue;
    bool theirs = false;
    shuffle(mask, &mine, sizeof(mine), lane, &theirs, where);
    if (theirs) lanes |= 1U << lane;
  }
  return lanes;
}

void wait_until(bool (*holds)(const void* what), const void* what, const std::source_location& where) {
  Thread& self = *machine().running;
  self.holds = holds;
  self.what = what;
  wait_with(self, State::at_condition, where);
}

void put_off(std::function<void()> work) {
  Machine& m = machine();
  if (m.random() % 2 == 0)
    work();
  else
    m.put_off.push_back(std::move(work));
}

void refuse(const std::string& what, const std::source_location& where) {
  Thread& self = *machine().running;
  self.refusal = what + " at " + place(where);
  wait_with(self, State::refused, where);
  std::abort();  // a launch that failed runs no thread again
}

void exchange(const void* mine, std::size_t bytes, void* of_all_32_lanes, const std::source_location& where) {
  shuffle(0xffffffffU, mine, bytes, kAllLanes, of_all_32_lanes, where);
}

std::byte* shared_memory() { return machine().shared.data(); }
std::size_t shared_memory_bytes() { return machine().shared.bytes(); }

int enqueue_kernel(const Grid& grid, cudaStream_t stream, std::function<void()> thread) {
  const auto count = std::size_t{grid.block.x} * grid.block.y * grid.block.z;
  if (count == 0 || count > kMostThreads || grid.block.z > 64 || grid.grid.x == 0 || grid.grid.y == 0 ||
      grid.grid.z == 0 || grid.grid.x > 0x7fffffffU || grid.grid.y > 65535 || grid.grid.z > 65535 ||
      grid.shared_bytes > kMostSharedBytes)
    return cudaErrorInvalidConfiguration;
  enqueue(stream, [grid, thread = std::move(thread)] { run_grid(grid, thread); });
  return cudaSuccess;
}

}  // namespace emulation
