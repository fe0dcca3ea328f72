// The collectives and messages of NcclCommunicator against plain loops, over a fake NCCL: which bytes go where, in
// which order sums run, and that messages wait for nothing but their receives.
#include <limits>

#include "src/base/error.hpp"
#include "tests/parallel/nccl/nccl_fixture.hpp"

namespace athanor::testing {
namespace {

using Kind = Communicator::P2p::Kind;

class NcclCommunicatorTest : public NcclTest {
 protected:
  void SetUp() override {
    if (world.size() == 1) GTEST_SKIP() << "a group of one has no communicator";
  }
};

constexpr DType kAllTypes[] = {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8};

// Sums over ranks have the bits of MpiCommunicator, whole in one round, in several pieces, and with a rest.
TEST_F(NcclCommunicatorTest, AllReduceSumsInRankOrder) {
  connect();
  for (const DType dtype : kAllTypes)
    for (const std::int64_t count : {1, 3, 64, 1027, 9001}) {
      Tensor inout = tensor(world.rank(), count, dtype);
      comm->all_reduce(inout, ReduceOp::sum, *stream);
      EXPECT_EQ(read(inout), reduced(count, dtype, ReduceOp::sum)) << to_string(dtype) << "[" << count << "]";
    }
}

// Maximum and mean reduce likewise; a NaN of any rank stays; a mean of integers is refused.
TEST_F(NcclCommunicatorTest, AllReduceTakesMaximumAndMean) {
  connect();
  for (const ReduceOp op : {ReduceOp::max, ReduceOp::mean})
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      Tensor inout = tensor(world.rank(), 4097, dtype);
      comm->all_reduce(inout, op, *stream);
      EXPECT_EQ(read(inout), reduced(4097, dtype, op)) << to_string(dtype);
    }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Tensor one = tensor_of(*ops, {world.rank() == 0 ? nan : 1.0}, {1}, DType::f32, *stream);
  comm->all_reduce(one, ReduceOp::max, *stream);
  EXPECT_TRUE(std::isnan(read(one)[0]));
  EXPECT_THROW(comm->all_reduce(tensor(0, 4, DType::i32), ReduceOp::mean, *stream), Error);
}

// Asked for NCCL's own sums, the order is NCCL's (the fake adds backwards); maxima keep the order of the house.
TEST_F(NcclCommunicatorTest, NcclsOwnSumsAreAChoice) {
  connect({.sums = RankSums::nccl});
  for (const std::int64_t count : {5, 3000}) {
    Tensor inout = tensor(world.rank(), count, DType::f32), in = tensor(world.rank(), count * world.size(), DType::f32);
    comm->all_reduce(inout, ReduceOp::sum, *stream);
    EXPECT_EQ(read(inout), reduced(count, DType::f32, ReduceOp::sum, true));
    Tensor out = ops->empty({count}, DType::f32);
    comm->reduce_scatter(out, in, ReduceOp::sum, *stream);
    const auto all = reduced(count * world.size(), DType::f32, ReduceOp::sum, true);
    EXPECT_EQ(read(out),
              std::vector<double>(all.begin() + world.rank() * count, all.begin() + (world.rank() + 1) * count));
  }
}

// reduce_scatter hands each rank its part, in place too and in several pieces.
TEST_F(NcclCommunicatorTest, ReduceScatterGivesTheOwnPart) {
  connect();
  for (const bool in_place : {false, true})
    for (const DType dtype : kAllTypes)
      for (const std::int64_t part : {1, 17, 3001}) {
        Tensor in = tensor(world.rank(), part * world.size(), dtype);
        const std::int64_t begin = part * world.rank();
        Tensor out = in_place ? in.rows(begin, begin + part) : ops->empty({part}, dtype);
        comm->reduce_scatter(out, in, ReduceOp::sum, *stream);
        const auto all = reduced(part * world.size(), dtype, ReduceOp::sum);
        EXPECT_EQ(read(out), std::vector<double>(all.begin() + begin, all.begin() + begin + part))
            << to_string(dtype) << "[" << part << "] in place " << in_place;
      }
}

// all_gather lays parts end to end; broadcast gives everyone the root's.
TEST_F(NcclCommunicatorTest, AllGatherAndBroadcast) {
  connect();
  for (const bool in_place : {false, true}) {
    Tensor out = ops->empty({33 * world.size()}, DType::bf16);
    Tensor in = tensor(world.rank(), 33, DType::bf16);
    if (in_place) {
      Tensor place = out.rows(33 * world.rank(), 33 * (world.rank() + 1));
      ops->copy(place, in, *stream);
      in = place;
    }
    comm->all_gather(out, in, *stream);
    const auto got = read(out);
    for (int rank = 0; rank < world.size(); ++rank)
      EXPECT_EQ(std::vector<double>(got.begin() + rank * 33, got.begin() + (rank + 1) * 33),
                read(tensor(rank, 33, DType::bf16)));
  }
  const int root = world.size() - 1;
  Tensor shared = tensor(world.rank(), 999, DType::f64);
  comm->broadcast(shared, root, *stream);
  EXPECT_EQ(read(shared), values(root, 999, DType::f64));
}

// all_to_all_v moves uneven row counts, none at all included, into the order of the senders.
TEST_F(NcclCommunicatorTest, AllToAllMovesUnevenRows) {
  connect();
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
  const auto rows = [](const std::vector<double>& list) { return static_cast<std::int64_t>(list.size()) / kWidth; };
  const Tensor in = tensor_of(*ops, sent, {rows(sent), kWidth}, DType::f32, *stream);
  Tensor out = ops->empty({rows(wanted), kWidth}, DType::f32);
  comm->all_to_all_v(out, receive, in, send, *stream);
  receive.assign(receive.size(), 99);  // the call has taken its own copy
  EXPECT_EQ(read(out), wanted);
}

// Every rank starts its send before its receive, which on one communicator would wait for ever; receives are finished
// in any order, and a collective in between is not disturbed.
TEST_F(NcclCommunicatorTest, StartedMessagesTravelBesideOtherWork) {
  connect();
  const int next = (world.rank() + 1) % world.size(), last = (world.rank() + world.size() - 1) % world.size();
  const std::int64_t counts[] = {5, 30000, 0, 17};
  std::vector<Communicator::P2p> sends, receives;
  std::vector<Tensor> received;
  for (const std::int64_t count : counts) {
    sends.push_back({Kind::send, tensor(world.rank(), count, DType::f64), next});
    received.push_back(ops->empty({count}, DType::f64));
    receives.push_back({Kind::recv, received.back(), last});
  }
  comm->start_exchange(sends, *stream);
  sends.clear();  // the communicator keeps what is under way
  Tensor inout = tensor(world.rank(), 4096, DType::f64);
  comm->all_reduce(inout, ReduceOp::sum, *stream);
  const Communicator::Ticket first = comm->start_exchange(std::span(receives).first(1), *stream);
  EXPECT_EQ(comm->start_exchange(std::span(receives).subspan(1), *stream), first + 1);
  for (const int i : {3, 1, 0, 2}) comm->finish_receive(first + i, *stream);
  comm->finish_sends(*stream);
  for (std::size_t i = 0; i < received.size(); ++i)
    EXPECT_EQ(read(received[i]), values(last, counts[i], DType::f64)) << "message " << i;
  EXPECT_EQ(read(inout), reduced(4096, DType::f64, ReduceOp::sum));
  EXPECT_THROW(comm->finish_receive(first, *stream), Error);
}

// Both directions of a pair at once, each begun by its sender, and what is no neighbour's message by the common way.
TEST_F(NcclCommunicatorTest, ExchangeBetweenAnyRanks) {
  connect();
  for (int distance = 1; distance < world.size(); ++distance) {
    const int to = (world.rank() + distance) % world.size(),
              from = (world.rank() + world.size() - distance) % world.size();
    Tensor received = ops->empty({100}, DType::f32);
    const Communicator::P2p messages[] = {{Kind::send, tensor(world.rank(), 100, DType::f32), to},
                                          {Kind::recv, received, from}};
    comm->exchange(messages, *stream);
    EXPECT_EQ(read(received), read(tensor(from, 100, DType::f32))) << "from rank " << from;
  }
  const Communicator::P2p itself[] = {{Kind::send, tensor(0, 4, DType::f32), world.rank()}};
  EXPECT_THROW(comm->exchange(itself, *stream), Error);
}

// A pipeline in miniature: forwards go up while backwards come down, with every receive posted long before its send.
TEST_F(NcclCommunicatorTest, PipelineTrafficNeverWaitsForItself) {
  connect();
  constexpr int kBatches = 6;
  std::vector<Tensor> ups, downs;
  std::vector<Communicator::Ticket> up_tickets, down_tickets;
  const int rank = world.rank(), top = world.size() - 1;
  for (int i = 0; i < kBatches; ++i) {
    ups.push_back(ops->empty({500}, DType::f64));
    downs.push_back(ops->empty({500}, DType::f64));
    const Communicator::P2p from_below{Kind::recv, ups.back(), rank - 1},
        from_above{Kind::recv, downs.back(), rank + 1};
    if (rank < top) down_tickets.push_back(comm->start_exchange({&from_above, 1}, *stream));
    if (rank > 0) up_tickets.push_back(comm->start_exchange({&from_below, 1}, *stream));
  }
  // What comes from below is raised by one and sent on; at the top it turns round.
  for (std::size_t i = 0; i < kBatches; ++i) {
    if (rank == 0)
      ops->fill(ups[i], static_cast<double>(i), *stream);
    else
      comm->finish_receive(up_tickets[i], *stream);
    Tensor y = ops->empty({500}, DType::f64), one = ops->empty({500}, DType::f64);
    ops->fill(one, 1.0, *stream);
    ops->add(y, ups[i], one, *stream);
    const Communicator::P2p on{Kind::send, y, rank < top ? rank + 1 : rank - 1};
    comm->start_exchange({&on, 1}, *stream);
  }
  for (std::size_t i = 0; i < kBatches && rank < top; ++i) {
    comm->finish_receive(down_tickets[i], *stream);
    const Communicator::P2p on{Kind::send, downs[i], rank - 1};
    if (rank > 0) comm->start_exchange({&on, 1}, *stream);
  }
  comm->finish_sends(*stream);
  if (rank == top) return;
  for (std::size_t i = 0; i < kBatches; ++i)
    EXPECT_EQ(read(downs[i])[499], static_cast<double>(i) + world.size()) << "batch " << i;
}

// Calls on two streams share the workspace and do not meet there, however long the sums of one take.
TEST_F(NcclCommunicatorTest, TwoStreamsTakeTurns) {
  connect();
  nccl.turns_of_a_sum = 2000;
  const auto other = device.make_stream();
  std::vector<Tensor> inputs, sums;
  for (int i = 0; i < 6; ++i) inputs.push_back(tensor(world.rank(), 9001, DType::f32));
  stream->synchronize();
  for (int i = 0; i < 6; ++i) {
    sums.push_back(inputs[static_cast<std::size_t>(i)]);
    comm->all_reduce(sums.back(), ReduceOp::sum, i % 2 == 0 ? *stream : *other);
  }
  other->synchronize();
  const auto wanted = reduced(9001, DType::f32, ReduceOp::sum);
  for (const Tensor& sum : sums) EXPECT_EQ(read(sum), wanted);
}

// Groups split off do not hear each other, and a rank alone gets none.
TEST_F(NcclCommunicatorTest, GroupsAreApart) {
  connect();
  const int group = world.rank() % 2;
  HostGroup half = world.split(group, world.rank());
  auto link = session->split(half, "tp");
  EXPECT_EQ(link == nullptr, half.size() == 1);
  if (!link) return;
  NcclCommunicator own(*session, std::move(link), half, *ops);
  Tensor inout = tensor_of(*ops, {double(world.rank())}, {1}, DType::f64, *stream);
  own.all_reduce(inout, ReduceOp::sum, *stream);
  EXPECT_EQ(read(inout)[0], group == 0 ? 2.0 : 4.0);  // ranks 0 and 2, 1 and 3
}

// Wrong counts, types and devices are refused at the call.
TEST_F(NcclCommunicatorTest, RefusesWhatCannotFit) {
  connect();
  Tensor a = ops->empty({8}, DType::f32);
  EXPECT_THROW(comm->all_gather(a, ops->empty({9}, DType::f32), *stream), Error);
  EXPECT_THROW(comm->reduce_scatter(a, ops->empty({8 * world.size()}, DType::f64), ReduceOp::sum, *stream), Error);
  EXPECT_THROW(comm->broadcast(a, world.size(), *stream), Error);
  EXPECT_THROW(comm->all_to_all_v(a, {}, a, {}, *stream), Error);
  const auto guarded = make_backend("cpu-guarded");
  EXPECT_THROW(comm->broadcast(guarded->empty({8}, DType::f32), 0, *stream), Error);
}

}  // namespace
}  // namespace athanor::testing
