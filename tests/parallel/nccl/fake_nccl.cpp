#include "tests/parallel/nccl/fake_nccl.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "parallel/mpi/mpi_session.hpp"
#include "parallel/mpi/rank_order_reduce.hpp"

namespace athanor {

/// Ranks of the world in a communicator; empty entries until the others have told.
struct NcclHandle {
  std::vector<int> ranks;
  int own = 0, number = 0;
  bool open = false;
  int questions = 0;
  std::function<bool()> opening;  ///< one step; true when it is open
  std::shared_ptr<std::atomic<bool>> aborted = std::make_shared<std::atomic<bool>>(false);
  /// Calls so far, and those that have ended: one runs after another.
  std::shared_ptr<std::int64_t> ended = std::make_shared<std::int64_t>(0);
  std::int64_t calls = 0;
};

namespace testing {
namespace {

constexpr int kQuestionsToOpen = 3;
constexpr int kKinds = 4;  // of tags: hello, table, color, data
int tag(int number, int kind) { return number * kKinds + kind; }

/// Requests that are asked, never waited for.
struct Requests {
  std::vector<MPI_Request> list;
  bool done() {
    int flag = 0;
    mpi::check(MPI_Testall(static_cast<int>(list.size()), list.data(), &flag, MPI_STATUSES_IGNORE), "MPI_Testall");
    return flag != 0;
  }
  void send(const void* data, std::size_t bytes, int to, int with_tag, MPI_Comm comm) {
    mpi::check(
        MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, with_tag, comm, &list.emplace_back(MPI_REQUEST_NULL)),
        "MPI_Isend");
  }
  void receive(void* data, std::size_t bytes, int from, int with_tag, MPI_Comm comm) {
    mpi::check(
        MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, with_tag, comm, &list.emplace_back(MPI_REQUEST_NULL)),
        "MPI_Irecv");
  }
};

}  // namespace

FakeNccl::FakeNccl(const HostGroup& world, SimulatedDevice& device) : world_rank_(world.rank()), device_(device) {
  mpi::check(MPI_Comm_dup(world.comm(), &comm_), "MPI_Comm_dup");
}

FakeNccl::~FakeNccl() { MPI_Comm_free(&comm_); }

std::string FakeNccl::error_text(NcclStatus status, const NcclHandle*) const {
  constexpr std::array<const char*, 8> kTexts = {"no error",
                                                 "unhandled cuda error",
                                                 "unhandled system error",
                                                 "internal error",
                                                 "invalid argument",
                                                 "invalid usage",
                                                 "remote process exited or there was a network error",
                                                 "in progress"};
  return kTexts[static_cast<std::size_t>(status)];
}

// ---- the life of a communicator

NcclHandle* FakeNccl::make(std::vector<int> ranks, int own, int number) {
  auto* handle = new NcclHandle;
  handle->ranks = std::move(ranks);
  handle->own = own;
  handle->number = number;
  ++open_;
  return handle;
}

bool FakeNccl::usable(const NcclHandle* comm) const { return comm != nullptr && comm->open && !*comm->aborted; }

/// An id is the rank that made it and its count.
NcclStatus FakeNccl::unique_id(NcclId& id) {
  const std::array<int, 2> words = {world_rank_, ++ids_};
  std::memcpy(id.data(), words.data(), sizeof words);
  return NcclStatus::success;
}

/// Every rank tells the maker of the id who it is, and gets the table of all.
NcclStatus FakeNccl::init(NcclHandle*& comm, int ranks, const NcclId& id, int rank, const char*) {
  if (refuse_opening != NcclStatus::success) return refuse_opening;
  std::array<int, 2> words{};
  std::memcpy(words.data(), id.data(), sizeof words);
  const int maker = words[0], number = 1000 + words[0] * 1000 + words[1];
  comm = make(std::vector<int>(static_cast<std::size_t>(ranks)), rank, number);
  struct Hello {
    std::array<int, 2> mine{};
    std::vector<std::array<int, 2>> all;
    Requests told, table;
    bool answered = false;
  };
  auto state = std::make_shared<Hello>();
  state->mine = {rank, world_rank_};
  state->told.send(&state->mine, sizeof state->mine, maker, tag(number, 0), comm_);
  if (maker == world_rank_) {
    state->all.resize(static_cast<std::size_t>(ranks));
    for (auto& hello : state->all) state->told.receive(&hello, sizeof hello, MPI_ANY_SOURCE, tag(number, 0), comm_);
  }
  state->table.receive(comm->ranks.data(), comm->ranks.size() * sizeof(int), maker, tag(number, 1), comm_);
  auto table = std::make_shared<std::vector<int>>(static_cast<std::size_t>(ranks));
  comm->opening = [this, state, table, maker, number] {
    if (!state->told.done()) return false;
    if (maker == world_rank_ && !std::exchange(state->answered, true)) {
      for (const auto& [in_group, in_world] : state->all) (*table)[static_cast<std::size_t>(in_group)] = in_world;
      for (const int to : *table)
        state->table.send(table->data(), table->size() * sizeof(int), to, tag(number, 1), comm_);
    }
    return state->table.done();
  };
  return NcclStatus::in_progress;
}

/// Every rank of the parent tells every other its colour and key.
NcclStatus FakeNccl::split(NcclHandle* parent, int color, int key, NcclHandle*& comm, const char*) {
  if (!usable(parent)) return NcclStatus::invalid_usage;
  const int number = ++splits_;  // disjoint groups may share it
  struct Colors {
    std::array<int, 2> mine{};
    std::vector<std::array<int, 2>> all;
    Requests told;
  };
  auto state = std::make_shared<Colors>();
  state->mine = {color, key};
  state->all.resize(parent->ranks.size());
  for (std::size_t i = 0; i < parent->ranks.size(); ++i) {
    state->told.receive(&state->all[i], sizeof state->mine, parent->ranks[i], tag(number, 2), comm_);
    state->told.send(&state->mine, sizeof state->mine, parent->ranks[i], tag(number, 2), comm_);
  }
  NcclHandle* made = color == kNoColor ? nullptr : make({}, 0, number);
  comm = made;
  parent->open = false;
  parent->questions = 0;
  const auto finish = [state, made, color, parent] {
    if (!state->told.done()) return false;
    if (made == nullptr) return true;
    std::vector<std::pair<int, int>> members;  // key, world rank
    for (std::size_t i = 0; i < state->all.size(); ++i)
      if (state->all[i][0] == color) members.emplace_back(state->all[i][1], parent->ranks[i]);
    std::sort(members.begin(), members.end());
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (members[i].second == parent->ranks[static_cast<std::size_t>(parent->own)]) made->own = static_cast<int>(i);
      made->ranks.push_back(members[i].second);
    }
    made->opening = [] { return true; };
    return true;
  };
  parent->opening = finish;
  if (made != nullptr) made->opening = [] { return false; };
  return NcclStatus::in_progress;
}

NcclStatus FakeNccl::async_error(NcclHandle* comm, NcclStatus& state) {
  if (comm == nullptr || *comm->aborted) return NcclStatus::invalid_usage;
  state = asynchronous;
  if (comm->open || state != NcclStatus::success) return NcclStatus::success;
  comm->open = !never_open && ++comm->questions >= kQuestionsToOpen && comm->opening();
  state = comm->open ? NcclStatus::success : NcclStatus::in_progress;
  return NcclStatus::success;
}

NcclStatus FakeNccl::finalize(NcclHandle* comm) {
  if (!usable(comm)) return NcclStatus::invalid_usage;
  device_.turn();
  comm->questions = 0;
  comm->open = false;
  comm->opening = [] { return true; };
  return NcclStatus::in_progress;
}

NcclStatus FakeNccl::destroy(NcclHandle* comm) {
  if (!usable(comm)) return NcclStatus::invalid_usage;
  --open_;
  delete comm;
  return NcclStatus::success;
}

NcclStatus FakeNccl::abort(NcclHandle* comm) {
  *comm->aborted = true;
  ++aborted_;
  --open_;
  delete comm;
  return NcclStatus::success;
}

// ---- calls

NcclStatus FakeNccl::group_start() {
  ++group_depth_;
  return NcclStatus::success;
}

NcclStatus FakeNccl::group_end() {
  if (--group_depth_ > 0) return NcclStatus::success;
  NcclStatus status = NcclStatus::success;
  for (Grouped& group : std::exchange(grouped_, {}))
    status = std::max(status, enqueue(
                                  group.comm, std::move(group.messages), [] {}, *group.stream));
  return status;
}

NcclStatus FakeNccl::enqueue(NcclHandle* comm, std::vector<Message> messages, std::function<void()> after,
                             Stream& stream) {
  if (!usable(comm)) return NcclStatus::invalid_usage;
  if (const NcclStatus refused = std::exchange(refuse_next_call, NcclStatus::success); refused != NcclStatus::success)
    return refused;
  for (Message& message : messages) {
    if (message.peer < 0 || message.peer >= static_cast<int>(comm->ranks.size())) return NcclStatus::invalid_argument;
    message.peer = comm->ranks[static_cast<std::size_t>(message.peer)];
  }
  struct Call {
    std::vector<Message> messages;
    std::function<void()> after;
    Requests requests;
    bool posted = false, hangs = false;
  };
  auto call = std::make_shared<Call>();
  call->messages = std::move(messages);
  call->after = std::move(after);
  call->hangs = std::exchange(hang_next_call, false);
  const std::int64_t turn = comm->calls++;
  device_.enqueue(stream, [this, call, turn, number = comm->number, aborted = comm->aborted, ended = comm->ended] {
    if (*aborted) return true;
    if (*ended < turn || call->hangs) return false;
    if (!std::exchange(call->posted, true))
      for (const Message& message : call->messages) {
        if (message.sends)
          // Synchronous: a send of NCCL is over when the other side has received.
          mpi::check(MPI_Issend(message.data, static_cast<int>(message.bytes), MPI_BYTE, message.peer, tag(number, 3),
                                comm_, &call->requests.list.emplace_back(MPI_REQUEST_NULL)),
                     "MPI_Issend");
        else
          call->requests.receive(message.data, message.bytes, message.peer, tag(number, 3), comm_);
      }
    if (!call->requests.done()) return false;
    call->after();
    ++*ended;
    return true;
  });
  return NcclStatus::success;
}

NcclStatus FakeNccl::post(const Message& message, NcclHandle* comm, Stream& stream) {
  if (group_depth_ == 0) return NcclStatus::invalid_usage;  // a send and its receive would wait for each other
  const auto same = [&](const Grouped& group) { return group.comm == comm && group.stream == &stream; };
  auto found = std::find_if(grouped_.begin(), grouped_.end(), same);
  if (found == grouped_.end()) found = grouped_.insert(grouped_.end(), {comm, &stream, {}});
  found->messages.push_back(message);
  return NcclStatus::success;
}

NcclStatus FakeNccl::send(const std::byte* in, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                          Stream& stream) {
  return post({true, const_cast<std::byte*>(in), count * size_bytes(dtype), peer}, comm, stream);
}

NcclStatus FakeNccl::receive(std::byte* out, std::size_t count, DType dtype, int peer, NcclHandle* comm,
                             Stream& stream) {
  return post({false, out, count * size_bytes(dtype), peer}, comm, stream);
}

NcclStatus FakeNccl::all_gather(const std::byte* in, std::byte* out, std::size_t in_count, DType dtype,
                                NcclHandle* comm, Stream& stream) {
  if (!usable(comm)) return NcclStatus::invalid_usage;
  const std::size_t bytes = in_count * size_bytes(dtype);
  std::vector<Message> messages;
  for (int peer = 0; peer < static_cast<int>(comm->ranks.size()); ++peer) {
    std::byte* place = out + static_cast<std::size_t>(peer) * bytes;
    if (peer == comm->own) {
      if (place != in) device_.enqueue(stream, [place, in, bytes] { return std::memcpy(place, in, bytes) == place; });
      continue;
    }
    messages.push_back({false, place, bytes, peer});
    messages.push_back({true, const_cast<std::byte*>(in), bytes, peer});
  }
  return enqueue(
      comm, std::move(messages), [] {}, stream);
}

/// In the order of the ranks backwards: as good as any, and not that of the house.
NcclStatus FakeNccl::reduce_scatter(const std::byte* in, std::byte* out, std::size_t out_count, DType dtype,
                                    ReduceOp op, NcclHandle* comm, Stream& stream) {
  if (!usable(comm)) return NcclStatus::invalid_usage;
  const std::size_t bytes = out_count * size_bytes(dtype), ranks = comm->ranks.size();
  auto received = std::make_shared<std::vector<std::byte>>(bytes * ranks);
  std::vector<Message> messages;
  std::vector<const std::byte*> contributions;
  for (std::size_t peer = ranks; peer-- > 0;) {
    std::byte* place = received->data() + peer * bytes;
    const bool own = static_cast<int>(peer) == comm->own;
    contributions.push_back(own ? in + peer * bytes : place);
    if (own) continue;
    messages.push_back({false, place, bytes, static_cast<int>(peer)});
    messages.push_back({true, const_cast<std::byte*>(in) + peer * bytes, bytes, static_cast<int>(peer)});
  }
  return enqueue(
      comm, std::move(messages),
      [=, kept = received] {
        reduce_in_rank_order(out, contributions, static_cast<std::int64_t>(out_count), dtype, op);
      },
      stream);
}

NcclStatus FakeNccl::all_reduce(std::byte* inout, std::size_t count, DType dtype, ReduceOp op, NcclHandle* comm,
                                Stream& stream) {
  if (!usable(comm)) return NcclStatus::invalid_usage;
  const std::size_t bytes = count * size_bytes(dtype), ranks = comm->ranks.size();
  auto received = std::make_shared<std::vector<std::byte>>(bytes * ranks);
  auto sent = std::make_shared<std::vector<std::byte>>(bytes);
  std::vector<Message> messages;
  std::vector<const std::byte*> contributions;
  for (std::size_t peer = ranks; peer-- > 0;) {
    const bool own = static_cast<int>(peer) == comm->own;
    std::byte* place = received->data() + peer * bytes;
    contributions.push_back(own ? sent->data() : place);
    if (own) continue;
    messages.push_back({false, place, bytes, static_cast<int>(peer)});
    messages.push_back({true, sent->data(), bytes, static_cast<int>(peer)});
  }
  device_.enqueue(stream, [sent, inout, bytes] { return std::memcpy(sent->data(), inout, bytes) == sent->data(); });
  return enqueue(
      comm, std::move(messages),
      [=, kept = std::pair(received, sent)] {
        reduce_in_rank_order(inout, contributions, static_cast<std::int64_t>(count), dtype, op);
      },
      stream);
}

NcclStatus FakeNccl::broadcast(std::byte* inout, std::size_t count, DType dtype, int root, NcclHandle* comm,
                               Stream& stream) {
  if (!usable(comm)) return NcclStatus::invalid_usage;
  const std::size_t bytes = count * size_bytes(dtype);
  std::vector<Message> messages;
  if (root != comm->own)
    messages.push_back({false, inout, bytes, root});
  else
    for (int peer = 0; peer < static_cast<int>(comm->ranks.size()); ++peer)
      if (peer != root) messages.push_back({true, inout, bytes, peer});
  return enqueue(
      comm, std::move(messages), [] {}, stream);
}

void FakeNccl::sum_in_rank_order(const RankSum& sum, Stream& stream) {
  device_.enqueue(stream, [sum, turns = turns_of_a_sum]() mutable {
    if (--turns > 0) return false;
    std::vector<const std::byte*> contributions;
    for (int rank = 0; rank < sum.ranks; ++rank)
      contributions.push_back(rank == sum.rank ? sum.own
                                               : sum.others + static_cast<std::size_t>(rank) * sum.stride_bytes);
    reduce_in_rank_order(sum.out, contributions, sum.count, sum.dtype, sum.op);
    return true;
  });
}

}  // namespace testing
}  // namespace athanor
