// Collectives against plain loops, on both CPU devices: the guarded one runs the messages late. "staged" takes the
// guarded one for a device whose memory MPI cannot read.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "parallel/collective_check.hpp"
#include "parallel/mpi/mpi_communicator.hpp"
#include "parallel/mpi/rank_order_reduce.hpp"
#include "parallel/mpi/staged_communicator.hpp"
#include "src/backend/solo_communicator.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/tensor_values.hpp"

namespace athanor {
namespace {

using testing::tensor_of;
using testing::values_of;

class CommunicatorTest : public ::testing::TestWithParam<const char*> {
 protected:
  // Every rank can compute what every other holds.
  static double value(int rank, std::int64_t index, DType dtype) {
    const Philox random(7, RandomPurpose::test, static_cast<std::uint64_t>(rank));
    const double uniform = random.uniform(static_cast<std::uint64_t>(index));
    if (!is_floating(dtype)) return std::floor(uniform * 20.0);
    // Magnitudes far apart, so that another order of additions gives other bits.
    return std::ldexp(uniform - 0.5, static_cast<int>(index % 7) * 6 * (rank % 2));
  }
  std::vector<double> values(int rank, std::int64_t count, DType dtype) const {
    std::vector<double> list;
    for (std::int64_t i = 0; i < count; ++i) list.push_back(value(rank, i, dtype));
    return list;
  }
  Tensor tensor(int rank, std::int64_t count, DType dtype) {
    return tensor_of(*ops, values(rank, count, dtype), {count}, dtype, *stream);
  }
  /// Reduction over ranks of element `index`, in rank order, as the law says.
  double expected(std::int64_t index, DType dtype, ReduceOp op) const {
    const auto as = [&](auto acc_type, auto round) {
      using Acc = decltype(acc_type);
      const auto load = [&](int rank) {
        const double raw = value(rank, index, dtype);
        return dtype == DType::bf16 ? static_cast<Acc>(static_cast<float>(bf16(static_cast<float>(raw))))
                                    : static_cast<Acc>(raw);
      };
      Acc total = load(0);
      for (int rank = 1; rank < world.size(); ++rank)
        total = op == ReduceOp::max ? std::max(total, load(rank)) : static_cast<Acc>(total + load(rank));
      if (op == ReduceOp::mean) total = static_cast<Acc>(total / static_cast<Acc>(world.size()));
      return round(total);
    };
    if (dtype == DType::f64) return as(double{}, [](double x) { return x; });
    if (dtype == DType::bf16)
      return as(float{}, [](float x) { return static_cast<double>(static_cast<float>(bf16(x))); });
    return as(float{}, [](float x) { return static_cast<double>(x); });
  }

  HostGroup world = HostGroup::world();
  bool is_staged() const { return GetParam() == std::string_view("staged"); }
  std::unique_ptr<Communicator> make_communicator() {
    if (is_staged()) return std::make_unique<StagedCommunicator>(world, *ops);
    return std::make_unique<MpiCommunicator>(world);
  }

  std::unique_ptr<Backend> ops = make_backend(is_staged() ? "cpu-guarded" : GetParam());
  std::unique_ptr<Stream> stream = ops->make_stream();
  std::unique_ptr<Communicator> owner = make_communicator();
  Communicator& comm = *owner;
};

constexpr DType kAllTypes[] = {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8};
// Below, at and above what travels in one round; more than one piece; parts that are empty on the last ranks.
constexpr std::int64_t kSizes[] = {1, 3, 64, 1027, 4096, 70001, 150001};

// all_reduce gives the sum in rank order, bit for bit, for every type and size.
TEST_P(CommunicatorTest, AllReduceSumsInRankOrder) {
  for (const DType dtype : kAllTypes)
    for (const std::int64_t count : kSizes) {
      Tensor inout = tensor(world.rank(), count, dtype);
      comm.all_reduce(inout, ReduceOp::sum, *stream);
      const auto got = values_of(*ops, inout, *stream);
      for (std::int64_t i = 0; i < count; ++i)
        if (got[static_cast<std::size_t>(i)] != expected(i, dtype, ReduceOp::sum)) {
          ADD_FAILURE() << to_string(dtype) << "[" << count << "] element " << i << ": "
                        << got[static_cast<std::size_t>(i)] << ", wanted " << expected(i, dtype, ReduceOp::sum);
          break;
        }
    }
}

// Maximum and mean reduce the same way; a mean of integers is refused.
TEST_P(CommunicatorTest, AllReduceTakesMaximumAndMean) {
  for (const ReduceOp op : {ReduceOp::max, ReduceOp::mean})
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
      for (const std::int64_t count : {std::int64_t{5}, std::int64_t{9001}}) {
        Tensor inout = tensor(world.rank(), count, dtype);
        comm.all_reduce(inout, op, *stream);
        const auto got = values_of(*ops, inout, *stream);
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < count; ++i)
          wrong += got[static_cast<std::size_t>(i)] != expected(i, dtype, op) ? 1 : 0;
        EXPECT_EQ(wrong, 0) << to_string(dtype) << "[" << count << "]";
      }
  const std::int32_t one = 1;
  const auto* bytes = reinterpret_cast<const std::byte*>(&one);
  std::byte out[4];
  EXPECT_THROW(reduce_in_rank_order(out, std::vector<const std::byte*>{bytes}, 1, DType::i32, ReduceOp::mean), Error);
}

// reduce_scatter hands each rank its part, also when the part is written in place and when there are several pieces.
TEST_P(CommunicatorTest, ReduceScatterGivesTheOwnPart) {
  for (const bool in_place : {false, true})
    for (const DType dtype : kAllTypes)
      for (const std::int64_t part : {std::int64_t{1}, std::int64_t{17}, std::int64_t{140001}}) {
        Tensor in = tensor(world.rank(), part * world.size(), dtype);
        const std::int64_t begin = part * world.rank();
        Tensor out = in_place ? in.rows(begin, begin + part) : ops->empty({part}, dtype);
        comm.reduce_scatter(out, in, ReduceOp::sum, *stream);
        const auto got = values_of(*ops, out, *stream);
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < part; ++i)
          wrong += got[static_cast<std::size_t>(i)] != expected(begin + i, dtype, ReduceOp::sum) ? 1 : 0;
        EXPECT_EQ(wrong, 0) << to_string(dtype) << "[" << part << "] in place " << in_place;
      }
}

// all_gather lays the parts end to end, also when the own part is already in place.
TEST_P(CommunicatorTest, AllGatherConcatenates) {
  for (const bool in_place : {false, true})
    for (const DType dtype : kAllTypes)
      for (const std::int64_t part : {std::int64_t{1}, std::int64_t{30}, std::int64_t{50001}}) {
        Tensor out = ops->empty({part * world.size()}, dtype);
        Tensor in = tensor(world.rank(), part, dtype);
        if (in_place) {
          Tensor place = out.rows(part * world.rank(), part * (world.rank() + 1));
          ops->copy(place, in, *stream);
          in = place;
        }
        comm.all_gather(out, in, *stream);
        const auto got = values_of(*ops, out, *stream);
        std::int64_t wrong = 0;
        for (int rank = 0; rank < world.size(); ++rank) {
          const auto wanted = values_of(*ops, tensor(rank, part, dtype), *stream);
          for (std::int64_t i = 0; i < part; ++i)
            wrong += got[static_cast<std::size_t>(rank * part + i)] != wanted[static_cast<std::size_t>(i)] ? 1 : 0;
        }
        EXPECT_EQ(wrong, 0) << to_string(dtype) << "[" << part << "] in place " << in_place;
      }
}

// all_to_all_v moves uneven row counts, none at all included, into the order of the senders.
TEST_P(CommunicatorTest, AllToAllMovesUnevenRows) {
  const auto rows_from_to = [](int source, int target) { return std::int64_t{(source * 3 + target * 5) % 4}; };
  std::vector<std::int64_t> send, receive;
  std::vector<double> sent, wanted;
  constexpr std::int64_t kWidth = 3;
  for (int peer = 0; peer < world.size(); ++peer) {
    send.push_back(rows_from_to(world.rank(), peer));
    receive.push_back(rows_from_to(peer, world.rank()));
    for (std::int64_t i = 0; i < send.back() * kWidth; ++i)
      sent.push_back(static_cast<double>(100 * world.rank() + 10 * peer + i));
    for (std::int64_t i = 0; i < receive.back() * kWidth; ++i)
      wanted.push_back(static_cast<double>(100 * peer + 10 * world.rank() + i));
  }
  const Tensor in =
      tensor_of(*ops, sent, {static_cast<std::int64_t>(sent.size()) / kWidth, kWidth}, DType::f32, *stream);
  Tensor out = ops->empty({static_cast<std::int64_t>(wanted.size()) / kWidth, kWidth}, DType::f32);
  comm.all_to_all_v(out, receive, in, send, *stream);
  receive.assign(receive.size(), 99);  // the call has taken its own copy where it runs late
  EXPECT_EQ(values_of(*ops, out, *stream), wanted);
}

// broadcast and exchange move what they are told to.
TEST_P(CommunicatorTest, BroadcastAndExchange) {
  const int root = world.size() - 1;
  Tensor shared = tensor(world.rank(), 999, DType::f64);
  comm.broadcast(shared, root, *stream);
  EXPECT_EQ(values_of(*ops, shared, *stream), values(root, 999, DType::f64));

  const int next = (world.rank() + 1) % world.size(), last = (world.rank() + world.size() - 1) % world.size();
  Tensor received = ops->empty({40000}, DType::f64);
  const Communicator::P2p messages[] = {
      {Communicator::P2p::Kind::send, tensor(world.rank(), 40000, DType::f64), next},
      {Communicator::P2p::Kind::recv, received, last},
  };
  comm.exchange(messages, *stream);
  EXPECT_EQ(values_of(*ops, received, *stream), values(last, 40000, DType::f64));
}

// Messages travel beside later work: receives are finished in any order, sends to one rank meet its receives in order,
// long and empty ones among them, and a collective in between does not disturb them.
TEST_P(CommunicatorTest, StartedMessagesTravelBesideOtherWork) {
  const int next = (world.rank() + 1) % world.size(), last = (world.rank() + world.size() - 1) % world.size();
  const std::int64_t counts[] = {5, 300000, 0, 17};
  std::vector<Communicator::P2p> sends, receives;
  std::vector<Tensor> received;
  for (const std::int64_t count : counts) {
    sends.push_back({Communicator::P2p::Kind::send, tensor(world.rank(), count, DType::f64), next});
    received.push_back(ops->empty({count}, DType::f64));
    receives.push_back({Communicator::P2p::Kind::recv, received.back(), last});
  }
  comm.start_exchange(sends, *stream);
  sends.clear();  // the communicator keeps what is under way
  Tensor inout = tensor(world.rank(), 4096, DType::f64);
  comm.all_reduce(inout, ReduceOp::sum, *stream);
  // In other batches than they were sent in.
  const Communicator::Ticket first = comm.start_exchange(std::span(receives).first(1), *stream);
  EXPECT_EQ(comm.start_exchange(std::span(receives).subspan(1), *stream), first + 1);
  for (const int i : {3, 1, 0, 2}) comm.finish_receive(first + i, *stream);
  comm.finish_sends(*stream);
  for (std::size_t i = 0; i < received.size(); ++i)
    EXPECT_EQ(values_of(*ops, received[i], *stream), values(last, counts[i], DType::f64)) << "message " << i;
  EXPECT_EQ(values_of(*ops, inout, *stream)[5], expected(5, DType::f64, ReduceOp::sum));
  const auto finish_again = [&] {
    comm.finish_receive(first, *stream);
    stream->synchronize();
  };
  EXPECT_THROW(finish_again(), Error);
}

// A call repeated gives the same bits, whatever else is in flight.
TEST_P(CommunicatorTest, RepeatsBitForBit) {
  std::vector<double> first;
  for (int run = 0; run < 3; ++run) {
    Tensor inout = tensor(world.rank(), 50021, DType::f32);
    comm.all_reduce(inout, ReduceOp::sum, *stream);
    const auto got = values_of(*ops, inout, *stream);
    if (run == 0)
      first = got;
    else
      EXPECT_EQ(got, first);
  }
}

// Wrong counts and types are refused at the call, before any message.
TEST_P(CommunicatorTest, RefusesWhatCannotFit) {
  Tensor a = ops->empty({8}, DType::f32);
  EXPECT_THROW(comm.all_gather(a, ops->empty({9}, DType::f32), *stream), Error);
  EXPECT_THROW(comm.reduce_scatter(a, ops->empty({8 * world.size()}, DType::f64), ReduceOp::sum, *stream), Error);
  EXPECT_THROW(comm.broadcast(a, world.size(), *stream), Error);
  EXPECT_THROW(comm.all_to_all_v(a, {}, a, {}, *stream), Error);
}

// The checked communicator does the same work, and names the rank that calls with another size.
TEST_P(CommunicatorTest, CheckedCommunicatorNamesTheOddRank) {
  CheckedCommunicator checked(comm, world, "along dp");
  Tensor inout = tensor(world.rank(), 33, DType::f64);
  checked.all_reduce(inout, ReduceOp::sum, *stream);
  EXPECT_EQ(values_of(*ops, inout, *stream)[5], expected(5, DType::f64, ReduceOp::sum));
  if (world.size() == 1) return;

  const int odd = world.size() - 1;
  std::string message;
  try {
    Tensor wrong = tensor(world.rank(), world.rank() == odd ? 34 : 33, DType::f64);
    checked.all_reduce(wrong, ReduceOp::sum, *stream);
  } catch (const CollectiveMismatch& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("along dp differs between ranks: rank " + std::to_string(odd)), std::string::npos) << message;
  EXPECT_NE(message.find("rank " + std::to_string(odd) + ": all_reduce of f64 34 elements"), std::string::npos)
      << message;

  std::vector<std::int64_t> send(static_cast<std::size_t>(world.size()), 1), receive = send;
  if (world.rank() == 0) receive[1] = 2;
  Tensor rows = ops->empty({world.size() + 1, 2}, DType::f32);
  EXPECT_THROW(checked.all_to_all_v(rows, receive, rows, send, *stream), CollectiveMismatch);
}

// The checked communicator moves messages as the plain one does: in other batches than they were sent in, at once both
// ways, and where one side sends what the other's earlier receive takes.
TEST_P(CommunicatorTest, CheckedCommunicatorMovesMessages) {
  CheckedCommunicator checked(comm, world, "along pp");
  using Kind = Communicator::P2p::Kind;
  const int next = (world.rank() + 1) % world.size(), last = (world.rank() + world.size() - 1) % world.size();
  const auto send = [&](std::int64_t count) {
    return Communicator::P2p{Kind::send, tensor(world.rank(), count, DType::f64), next};
  };
  std::vector<Tensor> received;
  const auto receive = [&](std::int64_t count) {
    received.push_back(ops->empty({count}, DType::f64));
    return Communicator::P2p{Kind::recv, received.back(), last};
  };
  const Communicator::P2p early[] = {receive(5), send(5), send(0)};
  const Communicator::Ticket first = checked.start_exchange(early, *stream);
  const Communicator::P2p late[] = {receive(0), send(70000), receive(70000)};
  checked.finish_receive(first, *stream);
  checked.exchange(late, *stream);
  const std::int64_t counts[] = {5, 0, 70000};
  for (std::size_t i = 0; i < received.size(); ++i)
    EXPECT_EQ(values_of(*ops, received[i], *stream), values(last, counts[i], DType::f64)) << "message " << i;
}

// The receiver of a message of another type or shape says who sends what, and one that nobody sends to says who sent to
// it instead.
TEST_P(CommunicatorTest, CheckedCommunicatorNamesTheOddMessage) {
  // A receive that is given up stays posted, and MPI writes into it when it likes: not into guarded memory.
  if (world.size() < 2 || !stream->runs_at_once()) return;
  using Kind = Communicator::P2p::Kind;
  // On rank 1, what finishing a receive of `wanted` from `peer` says when rank 0 sends `sent`.
  const auto complaint = [&](const Tensor& sent, const Tensor& wanted, int peer) -> std::string {
    MpiCommunicator own(world);
    CheckedCommunicator checked(own, world, "along pp", 0.05);
    const Communicator::P2p message{world.rank() == 0 ? Kind::send : Kind::recv, world.rank() == 0 ? sent : wanted,
                                    world.rank() == 0 ? 1 : peer};
    std::string text;
    if (world.rank() < 2) {
      const Communicator::Ticket ticket = checked.start_exchange({&message, 1}, *stream);
      world.barrier();  // so that what comes has come
      try {
        if (world.rank() == 1) {
          checked.finish_receive(ticket, *stream);
        }
      } catch (const CommError& error) {
        text = error.what();
      }
    } else {
      world.barrier();
    }
    world.barrier();
    return text;
  };
  const auto empty = [&](std::initializer_list<std::int64_t> shape, DType dtype) { return ops->empty(shape, dtype); };
  const std::string shape = complaint(empty({4, 8}, DType::f32), empty({8, 4}, DType::f32), 0);
  const std::string type = complaint(empty({4, 8}, DType::bf16), empty({4, 8}, DType::f32), 0);
  const std::string peer = complaint(empty({4, 8}, DType::f32), empty({4, 8}, DType::f32), world.size() - 1);
  if (world.rank() != 1) return;
  EXPECT_NE(shape.find("message 1 from rank 0 to rank 1 along pp differs between them: rank 0 sends f32[4, 8], rank 1 "
                       "expects f32[8, 4]"),
            std::string::npos)
      << shape;
  EXPECT_NE(type.find("rank 0 sends bf16[4, 8], rank 1 expects f32[4, 8]"), std::string::npos) << type;
  EXPECT_NE(peer.find("rank 1 waits for f32[4, 8]"), std::string::npos) << peer;
  EXPECT_NE(peer.find("Rank 0 announces f32[4, 8], which nobody here receives"), std::string::npos) << peer;
}

// A group of one copies, or does nothing in place.
TEST_P(CommunicatorTest, SoloCopies) {
  SoloCommunicator solo(*ops);
  const Tensor in = tensor(0, 12, DType::i32);
  Tensor out = ops->empty({12}, DType::i32);
  solo.all_gather(out, in, *stream);
  EXPECT_EQ(values_of(*ops, out, *stream), values(0, 12, DType::i32));
  Tensor rows = ops->empty({4, 3}, DType::i32);
  const std::int64_t three[] = {3};
  solo.all_to_all_v(rows, three, in.reshaped({4, 3}), three, *stream);
  auto moved = values_of(*ops, rows, *stream);
  moved.resize(9);
  auto wanted = values(0, 12, DType::i32);
  wanted.resize(9);
  EXPECT_EQ(moved, wanted);

  // A message to itself, started before its receive is.
  const Communicator::P2p send[] = {{Communicator::P2p::Kind::send, in, 0}};
  Tensor kept = ops->empty({12}, DType::i32);
  const Communicator::P2p receive[] = {{Communicator::P2p::Kind::recv, kept, 0}};
  solo.start_exchange(send, *stream);
  EXPECT_THROW(solo.finish_sends(*stream), Error);
  solo.finish_receive(solo.start_exchange(receive, *stream), *stream);
  solo.finish_sends(*stream);
  EXPECT_EQ(values_of(*ops, kept, *stream), values(0, 12, DType::i32));
  EXPECT_THROW(solo.finish_receive(solo.start_exchange(receive, *stream), *stream), Error);
}

INSTANTIATE_TEST_SUITE_P(Devices, CommunicatorTest, ::testing::Values("cpu", "cpu-guarded", "staged"),
                         [](const auto& info) {
                           const std::string name = info.param;
                           return name == "cpu-guarded" ? std::string("guarded") : name;
                         });

}  // namespace
}  // namespace athanor
