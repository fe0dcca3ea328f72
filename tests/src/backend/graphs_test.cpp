// Work that comes again: whether it is run or replayed makes no difference, and its memory is its own.
#include <functional>

#include "src/base/error.hpp"
#include "tests/support/device_fixture.hpp"

namespace athanor {
namespace {

class GraphsTest : public DeviceTest {
 protected:
  /// out = (a * w^T, scaled, of rows `rows`) + itself, by way of tensors of its own.
  void work(const Tensor& out, const Tensor& a, const Tensor& w, const Tensor& rows) {
    const Tensor taken = ops().empty({rows.numel(), a.dim(1)}, dtype());
    ops().gather_rows(taken, a, rows, stream());
    const Tensor product = ops().empty(out.shape(), dtype());
    ops().gemm(product, taken, Transpose::no, w, Transpose::yes, false, stream());
    ops().scale(product, 0.5, stream());
    ops().add(out, out, product, stream());
  }
};

// Promise: a run reads what its inputs hold at that time, for every shape, however often and in what order they come.
TEST_P(GraphsTest, RunsReadTheirInputsAnew) {
  const std::int64_t width = 24;
  const Tensor w = tensor(random_values(width * width, 1), {width, width}, dtype());
  const Tensor a = output({9, width}, dtype());
  const auto fill = [&](std::uint64_t turn) {
    std::vector<double> values = random_values(a.numel(), 10 + turn);
    ops().copy(a, tensor(values, a.shape(), dtype()), stream());
  };
  const auto graphs = ops().make_graphs(stream());
  struct Case {
    Tensor rows, replayed, wanted;
  };
  std::vector<Case> cases;
  for (const std::int64_t rows : {3, 8})
    cases.push_back({ids(random_ids(rows, 2, 9), {rows}),
                     tensor(std::vector<double>(rows * width, 0), {rows, width}, dtype()),
                     tensor(std::vector<double>(rows * width, 0), {rows, width}, dtype())});
  std::vector<Tensor> others;  // what the arena hands out in between belongs to nobody else
  for (std::uint64_t turn = 0; turn < 8; ++turn) {
    fill(turn);
    const Case& c = cases[turn % 3 == 0 ? 1 : 0];
    others.push_back(tensor(std::vector<double>(3 * width, 7.0), {3, width}, dtype()));
    graphs->run(c.rows.numel(), [&] { work(c.replayed, a, w, c.rows); });
    work(c.wanted, a, w, c.rows);
    ops().copy(c.rows, ids(random_ids(c.rows.numel(), 20 + turn, 9), c.rows.shape()), stream());
  }
  for (const Case& c : cases) EXPECT_EQ(read(c.replayed), read(c.wanted));
  for (const Tensor& other : others) EXPECT_EQ(read(other), std::vector<double>(3 * width, 7.0));
}

// Promise: once a shape has run twice, further runs ask the system for no memory; and when the graphs are gone, the
// arena hands their memory out again.
TEST_P(GraphsTest, MemoryIsSteadyAndComesBack) {
  const Tensor a = tensor(random_values(64, 1), {8, 8}, dtype()), rows = ids({1, 2, 3, 4}, {4});
  const Tensor out = tensor(std::vector<double>(32, 0), {4, 8}, dtype());
  const Arena& arena = ops().arena();
  const std::size_t before = arena.statistics().in_use_bytes;
  std::int64_t allocations = 0;
  {
    const auto graphs = ops().make_graphs(stream());
    for (int turn = 0; turn < 5; ++turn) {
      graphs->run(4, [&] { work(out, a, a, rows); });
      stream().synchronize();  // the guarded device holds on to tensors until then
      if (turn == 1) allocations = arena.statistics().system_allocations;
    }
    EXPECT_EQ(arena.statistics().system_allocations, allocations);
  }
  EXPECT_EQ(arena.statistics().in_use_bytes, before);
  const Tensor taken = ops().empty({4, 8}, dtype()), product = ops().empty({4, 8}, dtype());
  EXPECT_EQ(arena.statistics().system_allocations, allocations);
}

// Promise: a bad index is told after a replay as well, and the work runs on when it is good again.
TEST_P(GraphsTest, BadIndicesAreTold) {
  const Tensor a = tensor(random_values(64, 1), {8, 8}, dtype());
  const Tensor rows = ids({1, 2}, {2}), good = ids({1, 2}, {2}), bad = ids({1, 8}, {2});
  const Tensor out = tensor(std::vector<double>(16, 0), {2, 8}, dtype());
  const auto graphs = ops().make_graphs(stream());
  const auto run = [&](const Tensor& with) {
    ops().copy(rows, with, stream());
    graphs->run(2, [&] { work(out, a, a, rows); });
    stream().synchronize();
  };
  for (int turn = 0; turn < 3; ++turn) run(good);
  EXPECT_THROW(run(bad), Error);
  EXPECT_NO_THROW(run(good));
  EXPECT_THROW(run(bad), Error);
}

// Promise: where runs are replayed, work that waits, reaches the host or throws is refused when it is recorded, and the
// stream goes on.
TEST_P(GraphsTest, WhatCannotBeRecordedIsRefused) {
  const auto graphs = ops().make_graphs(stream());
  if (!graphs->replays()) return;
  const Tensor out = tensor({1.0, 2.0}, {2}, dtype());
  std::vector<std::byte> host(out.bytes());
  const std::vector<std::function<void()>> forbidden = {
      [&] { stream().synchronize(); }, [&] { stream().enqueue_host([] {}); },
      [&] { ops().download(host, out, stream()); }, [&] { ops().upload(out, host, stream()); }};
  std::int64_t shape = 0;
  for (const auto& work : forbidden) {
    const std::vector<double> held = read(out);
    graphs->run(++shape, work);
    stream().synchronize();
    EXPECT_THROW(graphs->run(shape, work), Error) << shape;
    ops().scale(out, 2.0, stream());
    ops().scale(out, 0.5, stream());
    EXPECT_EQ(read(out), held);
  }
  const auto second = ops().make_stream();
  EXPECT_THROW(ops().make_graphs(*second), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, GraphsTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
