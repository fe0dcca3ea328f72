#include "parallel/collective_log.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>

#include "parallel/host_group.hpp"
#include "parallel/node_memory.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

/// One clock for all processes of a machine.
std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double seconds_of(std::int64_t ns) { return static_cast<double>(ns) * 1e-9; }

/// The process numbers that this process sees are those of its name space.
std::int64_t process_name_space() {
  struct stat info {};
  return ::stat("/proc/self/ns/pid", &info) == 0 ? static_cast<std::int64_t>(info.st_ino) : -::getpid();
}

std::uint64_t packed(std::string_view group) {
  std::array<char, 8> text{};
  std::memcpy(text.data(), group.data(), std::min(group.size(), text.size() - 1));
  std::uint64_t word = 0;
  std::memcpy(&word, text.data(), sizeof word);
  return word;
}

std::size_t kind_of(Operation operation, bool of_tensors) {
  return 1 + 2 * static_cast<std::size_t>(operation) + (of_tensors ? 1 : 0);
}
static_assert(2 + 2 * static_cast<std::size_t>(Operation::finish_sends) < Deadlines::kKinds);

using Word = std::atomic<std::int64_t>;
static_assert(Word::is_always_lock_free);

}  // namespace

std::string_view to_string(Operation operation) {
  constexpr std::array<std::string_view, 11> names = {"all_reduce",     "reduce_scatter", "all_gather",  "all_to_all_v",
                                                      "broadcast",      "gather",         "barrier",     "exchange",
                                                      "start_exchange", "finish_receive", "finish_sends"};
  return names[static_cast<std::size_t>(operation)];
}

std::string to_string(const CollectiveState& state) {
  if (state.calls == 0) return "none yet";
  const CollectiveCall& call = state.call;
  std::string text = fmt::format("{}{} along {}, number {}", to_string(call.operation),
                                 call.of_tensors ? "" : " of host messages", state.group_text, call.number);
  if (call.count > 0)
    text += fmt::format(", {} x {} ({} bytes)", to_string(call.dtype), call.count,
                        static_cast<std::size_t>(call.count) * size_bytes(call.dtype));
  if (call.peer >= 0) text += fmt::format(", with rank {} of {}", call.peer, state.group_text);
  text += state.step > 0 ? fmt::format(", in step {}", state.step) : fmt::format(", {}", to_string(state.phase));
  return text + (state.finished ? fmt::format(": finished {:.1f} s ago", state.seconds)
                                : fmt::format(": begun {:.1f} s ago and not finished", state.seconds));
}

bool in_same_call(const CollectiveState& a, const CollectiveState& b) {
  return !a.finished && !b.finished && a.call.operation == b.call.operation && a.call.number == b.call.number &&
         a.members_key == b.members_key && std::memcmp(a.group_text, b.group_text, sizeof a.group_text) == 0;
}

/// Readers take it between two equal, even versions (a seqlock; Boehm, "Can seqlocks get along with programming
/// language memory models?", 2012).
struct alignas(64) CollectiveLog::Record {
  Word rank, process, name_space;  // written once
  Word version;
  Word kind;  // operation, tensors, dtype, finished, peer: a byte each but for the last
  Word group, members, number, count, calls, at_ns;
  Word phase, step, longest_ns, failed_ns, stack_wanted;  // each for itself
};

CollectiveLog::CollectiveLog(const HostGroup& world) : rank_(world.rank()) {
  HostGroup node = world.split(world.node_index(), world.rank());
  ranks_here_ = node.size();
  own_ = node.rank();
  memory_ = std::make_unique<NodeMemory>(node, sizeof(Record) * static_cast<std::size_t>(ranks_here_));
  Record& mine = *std::construct_at(&record(own_));
  mine.rank = rank_;
  mine.name_space = process_name_space();
  mine.process = ::getpid();
  mark_ns_ = now_ns();
  node.barrier();  // from here on all records of the machine say whose they are
}

CollectiveLog::~CollectiveLog() = default;

CollectiveLog::Record& CollectiveLog::record(int here) const {
  return reinterpret_cast<Record*>(memory_->data())[here];
}

// ---- writing

void CollectiveLog::begin(const CollectiveCall& call) {
  if (depth_ > 0 || std::uncaught_exceptions() > 0) {
    ++depth_;
    return;
  }
  const bool is_due = fault_ && is_due_at(call);
  if (is_due && fault_->happens_before_the_call()) happen(*fault_);
  Record& mine = record(own_);
  constexpr auto relaxed = std::memory_order_relaxed;
  const std::int64_t version = mine.version.load(relaxed);
  note(static_cast<JobPhase>(mine.phase.load(relaxed)), Deadlines::kBetweenCalls, now_ns());
  members_.store(call.members, relaxed);
  mine.version.store(version + 1, relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  mine.kind.store(static_cast<std::int64_t>(call.operation) | (call.of_tensors ? 1 : 0) << 8 |
                      static_cast<std::int64_t>(call.dtype) << 16 |
                      static_cast<std::int64_t>(call.peer) * (std::int64_t{1} << 32),
                  relaxed);
  mine.group.store(static_cast<std::int64_t>(packed(call.group)), relaxed);
  mine.members.store(call.members == nullptr ? 0 : call.members->key, relaxed);
  mine.number.store(call.number, relaxed);
  mine.count.store(call.count, relaxed);
  mine.calls.store(mine.calls.load(relaxed) + 1, relaxed);
  mine.at_ns.store(mark_ns_, relaxed);
  mine.version.store(version + 2, std::memory_order_release);
  if (is_due && !fault_->happens_before_the_call()) happen(*fault_);
  ++depth_;
}

void CollectiveLog::end() {
  if (--depth_ > 0 || std::uncaught_exceptions() > 0) return;
  Record& mine = record(own_);
  constexpr auto relaxed = std::memory_order_relaxed;
  const std::int64_t version = mine.version.load(relaxed), now = now_ns(), took = now - mark_ns_;
  const std::int64_t kind = mine.kind.load(relaxed);
  note(static_cast<JobPhase>(mine.phase.load(relaxed)),
       kind_of(static_cast<Operation>(kind & 0xff), (kind >> 8 & 0xff) != 0), now);
  in_calls_ns_ += took;
  mine.version.store(version + 1, relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  mine.kind.store(kind | std::int64_t{1} << 24, relaxed);
  mine.at_ns.store(now, relaxed);
  mine.version.store(version + 2, std::memory_order_release);
  if (mine.step.load(relaxed) > 0 && took > mine.longest_ns.load(relaxed)) mine.longest_ns.store(took, relaxed);
}

void CollectiveLog::note(JobPhase phase, std::size_t kind, std::int64_t until_ns) {
  deadlines_.note(phase, kind, until_ns - mark_ns_);
  mark_ns_ = until_ns;
}

JobPhase CollectiveLog::change_phase(JobPhase phase) {
  Record& mine = record(own_);
  const auto before = static_cast<JobPhase>(mine.phase.load(std::memory_order_relaxed));
  // A call under way is noted where it ends.
  if (depth_ == 0) note(before, Deadlines::kBetweenCalls, now_ns());
  mine.phase = static_cast<std::int64_t>(phase);
  mine.version.fetch_add(2, std::memory_order_release);  // something moved
  return before;
}

CollectiveLog::InPhase::InPhase(CollectiveLog* log, JobPhase phase)
    : log_(log), exceptions_(std::uncaught_exceptions()) {
  if (log_ != nullptr) before_ = log_->change_phase(phase);
}

CollectiveLog::InPhase::~InPhase() {
  if (log_ != nullptr && std::uncaught_exceptions() == exceptions_) log_->change_phase(before_);
}

CollectiveLog::Call::Call(CollectiveLog* log, const CollectiveCall& call)
    : log_(log),
      span_(SpanKind::communication, to_string(call.operation), call.group,
            {{"number", call.number}, {"host_message", call.of_tensors ? 0 : 1}}) {
  if (log_ != nullptr) log_->begin(call);
}

CollectiveLog::Call::~Call() {
  if (log_ != nullptr) log_->end();
}

CollectiveLog::Step::Step(CollectiveLog* log, std::int64_t step)
    : log_(log), phase_(log, JobPhase::step), exceptions_(std::uncaught_exceptions()) {
  if (log_ == nullptr) return;
  if (const auto& fault = log_->fault_;
      fault && !log_->met_ && !fault->axis.empty() && log_->last_step_ == fault->step) {
    log_->met_ = true;  // this tells of it
    throw ConfigError(fmt::format("parallel.fault = {}: this rank made {} calls along {} in step {}; name one of them",
                                  to_string(*fault), log_->fault_calls_, fault->axis, fault->step));
  }
  Record& mine = log_->record(log_->own_);
  mine.failed_ns = 0;
  mine.step = log_->last_step_ = step;
  log_->depth_ = 0;  // of calls that an earlier exception kept from ending
  if (log_->fault_ && !log_->fault_->phase) log_->fault_calls_ = 0;
}

CollectiveLog::Step::~Step() {
  if (log_ == nullptr) return;
  Record& mine = log_->record(log_->own_);
  if (std::uncaught_exceptions() > exceptions_)
    mine.failed_ns = now_ns();  // the record keeps the step
  else
    mine.step = 0;
}

// ---- faults

void CollectiveLog::set_fault(std::optional<Fault> fault) {
  if (fault && fault->rank != rank_) fault.reset();
  if (fault && fault_ && to_string(*fault) == to_string(*fault_)) return;
  if (fault_ && !met_)
    throw ConfigError(fmt::format("parallel.fault = {}: its place never came; {}", to_string(*fault_),
                                  fault_->phase ? fmt::format("this rank made {} calls in it", fault_calls_)
                                                : fmt::format("the last step was {}", last_step_)));
  fault_ = std::move(fault);
  fault_calls_ = 0;
  met_ = false;
}

bool CollectiveLog::is_due_at(const CollectiveCall& call) {
  const Record& mine = record(own_);
  if (fault_->phase) {
    if (mine.phase != static_cast<std::int64_t>(*fault_->phase)) return false;
  } else {
    const bool repeats = fault_->kind == Fault::Kind::delay;
    const std::int64_t step = mine.step;
    if (call.group != fault_->axis || (repeats ? step < fault_->step : step != fault_->step)) return false;
  }
  if (++fault_calls_ != fault_->call) return false;
  met_ = true;
  return true;
}

void CollectiveLog::before_writing() {
  if (!fault_ || fault_->phase != JobPhase::writing) return;
  ++fault_calls_;
  if (fault_->kind == Fault::Kind::delay ? fault_calls_ < fault_->call : fault_calls_ != fault_->call) return;
  met_ = true;
  happen(*fault_);
}

bool CollectiveLog::spoils_loss(std::int64_t step) {
  if (!fault_ || fault_->kind != Fault::Kind::nan || fault_->step != step) return false;
  met_ = true;
  return true;
}

// ---- reading

int CollectiveLog::world_rank(int here) const { return static_cast<int>(record(here).rank); }

std::int64_t CollectiveLog::process(int here) const { return record(here).process; }

bool CollectiveLog::lives(int here) const {
  const Record& other = record(here);
  if (other.process == 0 || other.name_space != record(own_).name_space) return true;
  return ::kill(static_cast<pid_t>(other.process), 0) == 0 || errno != ESRCH;
}

CollectiveState CollectiveLog::state(int here) const {
  const Record& other = record(here);
  constexpr auto relaxed = std::memory_order_relaxed;
  CollectiveState state;
  std::int64_t kind = 0, group = 0, at_ns = 0;
  // A rank may have died while it wrote: what is there then is taken as it is.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const std::int64_t version = other.version.load(std::memory_order_acquire);
    kind = other.kind.load(relaxed);
    group = other.group.load(relaxed);
    state.members_key = other.members.load(relaxed);
    state.call.number = other.number.load(relaxed);
    state.call.count = other.count.load(relaxed);
    state.calls = other.calls.load(relaxed);
    at_ns = other.at_ns.load(relaxed);
    state.events = version;
    std::atomic_thread_fence(std::memory_order_acquire);
    if (version % 2 == 0 && version == other.version.load(relaxed)) break;
  }
  const std::int64_t now = now_ns();
  state.call.operation = static_cast<Operation>(kind & 0xff);
  state.call.of_tensors = (kind >> 8 & 0xff) != 0;
  state.call.dtype = static_cast<DType>(kind >> 16 & 0xff);
  state.finished = (kind >> 24 & 0xff) != 0;
  state.call.peer = static_cast<int>(kind >> 32);
  std::memcpy(state.group_text, &group, sizeof group);
  state.seconds = seconds_of(now - at_ns);
  state.phase = static_cast<JobPhase>(other.phase.load(relaxed));
  state.step = other.step;
  state.longest_seconds = seconds_of(other.longest_ns);
  const std::int64_t failed_ns = other.failed_ns;
  state.failed = failed_ns != 0;
  state.failed_seconds = state.failed ? seconds_of(now - failed_ns) : 0.0;
  return state;
}

Deadlines::Limit CollectiveLog::limit(const CollectiveState& state) const {
  const bool between = state.calls == 0 || state.finished;
  return deadlines_.limit(state.phase,
                          between ? Deadlines::kBetweenCalls : kind_of(state.call.operation, state.call.of_tensors));
}

const GroupMembers* CollectiveLog::members_of(std::vector<int> world_ranks) {
  // FNV-1a over the ranks; 0 is taken for "not known".
  std::uint64_t key = 14695981039346656037U;
  for (const int rank : world_ranks) key = (key ^ static_cast<std::uint64_t>(rank + 1)) * 1099511628211U;
  return &*members_of_groups_.insert({std::move(world_ranks), static_cast<std::int64_t>(key | 1)}).first;
}

void CollectiveLog::want_stack(int here) { record(here).stack_wanted = 1; }

bool CollectiveLog::stack_is_wanted() { return record(own_).stack_wanted.exchange(0) != 0; }

const std::string& CollectiveLog::refusal() const { return memory_->refusal(); }

}  // namespace athanor
