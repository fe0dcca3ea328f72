// Moving elements, against the reference on every device and type.
#include <limits>

#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

constexpr Bound kExact{};

class MemoryTest : public DeviceTest {};

// Promise: bytes come back as they went; the host buffer may be reused as soon as upload returns.
TEST_P(MemoryTest, UploadsAndDownloads) {
  const std::vector<double> wanted = random_values(1003, 1);
  std::vector<double> host = wanted;
  Tensor t = ops().empty({17, 59}, DType::f64);
  ops().upload(t, std::as_bytes(std::span(host)), stream());
  std::fill(host.begin(), host.end(), 0.0);
  EXPECT_TRUE(near(read(t), wanted, kExact));
}

// Promise: conversion between all floating types rounds once, to nearest, and keeps infinities and NaN.
TEST_P(MemoryTest, ConvertsFloatingTypes) {
  for (const DType from : {DType::f64, DType::f32, DType::bf16}) {
    std::vector<double> values = random_values(20011, 2, -3.0, 3.0);
    values[5] = std::numeric_limits<double>::infinity();
    values[6] = 0.0;
    const Tensor source = tensor(values, {20011}, from);
    Tensor target = output({20011}, dtype());

    ops().copy(target, source, stream());

    std::vector<double> wanted = values;
    tensor(wanted, {20011}, dtype());  // rounds on the host
    EXPECT_TRUE(near(read(target), wanted, kExact)) << "from " << to_string(from);
  }
  const Tensor nan = tensor({std::numeric_limits<double>::quiet_NaN()}, {1}, DType::f32);
  Tensor target = tensor({0.0}, {1}, dtype());
  ops().copy(target, nan, stream());
  EXPECT_TRUE(std::isnan(read(target)[0]));
}

// Promise: integers are copied as they are.
TEST_P(MemoryTest, CopiesIntegers) {
  const Tensor source = counts({1, -2, std::int64_t{1} << 40});
  Tensor target = counts({0, 0, 0});
  ops().copy(target, source, stream());
  EXPECT_EQ(read(target), (std::vector<double>{1, -2, 0x1p40}));
}

// Promise: fill writes every element, of floating and of integer types.
TEST_P(MemoryTest, Fills) {
  Tensor t = output({40, 1001}, dtype());
  ops().fill(t, -1.5, stream());
  EXPECT_TRUE(near(read(t), std::vector<double>(40040, -1.5), kExact));
  Tensor n = counts({1, 2, 3});
  ops().fill(n, 7, stream());
  EXPECT_EQ(read(n), (std::vector<double>{7, 7, 7}));
}

// Promise: a shard of a random tensor holds what the whole tensor holds there, also where it starts at an odd element;
// the numbers are those of (seed, name), with mean 0 and the deviation asked for.
TEST_P(MemoryTest, DrawsTheSameNumbersForEveryShard) {
  const Shape global{6, 11, 17};
  Tensor all = output(global, dtype()), part = output({3, 4, 9}, dtype()), other = output(global, dtype());
  const ShardSpec spec{"w", dtype(), global, {0, 0, 0}, global};
  ops().fill_normal(all, 0.02, 3, spec, stream());
  ops().fill_normal(part, 0.02, 3, {"w", dtype(), global, {2, 5, 7}, {3, 4, 9}}, stream());
  ops().fill_normal(other, 0.02, 3, {"u", dtype(), global, {0, 0, 0}, global}, stream());

  const auto whole = read(all), piece = read(part);
  std::size_t i = 0;
  for (std::size_t a = 2; a < 5; ++a)
    for (std::size_t b = 5; b < 9; ++b)
      for (std::size_t c = 7; c < 16; ++c) ASSERT_EQ(piece[i++], whole[(a * 11 + b) * 17 + c]);
  EXPECT_NE(read(other), whole);
  const Philox random(3, RandomPurpose::weight_init, stable_hash("w"));
  std::vector<double> wanted;
  for (std::uint64_t e = 0; e < whole.size(); ++e) wanted.push_back(0.02 * random.normal(e));
  EXPECT_TRUE(near(whole, wanted, bound(1)));
}

// Promise: gather, scatter and scatter_add move whole rows by index; repeated ids add up.
TEST_P(MemoryTest, MovesRowsByIndex) {
  const std::int64_t table_rows = 37, rows = 71, width = 131;
  std::vector<double> table = random_values(table_rows * width, 1), source = random_values(rows * width, 2);
  const auto picked = random_ids(rows, 3, static_cast<std::int32_t>(table_rows));
  const Tensor table_ND = tensor(table, {table_rows, width}, dtype());
  Tensor rows_RD = output({rows, width}, dtype());
  ops().gather_rows(rows_RD, table_ND, ids(picked, {rows}), stream());
  EXPECT_TRUE(near(read(rows_RD), reference::gather_rows(table, picked, width), kExact));

  const std::vector<std::int32_t> distinct{36, 0, 7, 19};
  const std::vector<double> few(source.begin(), source.begin() + 4 * width);
  std::vector<double> few_held = few;
  ops().scatter_rows(table_ND, tensor(few_held, {4, width}, dtype()), ids(distinct, {4}), stream());
  EXPECT_TRUE(near(read(table_ND), reference::scatter_rows(table, few_held, distinct, width), kExact));

  std::vector<double> sums = random_values(table_rows * width, 4);
  Tensor sums_ND = tensor(sums, {table_rows, width}, acc());
  ops().scatter_add_rows(sums_ND, tensor(source, {rows, width}, dtype()), ids(picked, {rows}), stream());
  EXPECT_TRUE(near(read(sums_ND), reference::scatter_add_rows(sums, source, picked, width), acc_bound(32)));
}

// Promise: an id outside the table is refused with its value and place, before anything is written.
TEST_P(MemoryTest, RefusesIdsOutsideTheTable) {
  Tensor rows_RD = output({2, 3}, dtype());
  const Tensor table_ND = output({4, 3}, dtype()), bad = ids({1, 4}, {2});
  const auto gather = [&] {
    ops().gather_rows(rows_RD, table_ND, bad, stream());
    stream().synchronize();
  };
  EXPECT_THROW(gather(), Error);
}

// Promise: columns side by side and apart again.
TEST_P(MemoryTest, JoinsAndSplitsColumns) {
  std::vector<double> a = random_values(33 * 7, 1), b = random_values(33 * 12, 2);
  const Tensor a_TA = tensor(a, {33, 7}, dtype()), b_TB = tensor(b, {33, 12}, dtype());
  Tensor both = output({33, 19}, dtype()), a_back = output({33, 7}, dtype()), b_back = output({33, 12}, dtype());
  ops().concat_columns(both, a_TA, b_TB, stream());
  ops().split_columns(a_back, b_back, both, stream());
  EXPECT_TRUE(near(read(both), reference::concat_columns(a, 7, b, 12), kExact));
  EXPECT_TRUE(near(read(a_back), a, kExact));
  EXPECT_TRUE(near(read(b_back), b, kExact));
}

// Promise: what does not fit is refused at the call.
TEST_P(MemoryTest, RefusesWhatDoesNotFit) {
  Tensor small = output({3}, dtype()), large = output({4}, dtype());
  std::vector<std::byte> host(1);
  EXPECT_THROW(ops().copy(small, large, stream()), Error);
  EXPECT_THROW(ops().upload(small, host, stream()), Error);
  EXPECT_THROW(ops().download(host, small, stream()), Error);
  EXPECT_THROW(ops().gather_rows(output({2, 3}, dtype()), output({5, 4}, dtype()), ids({0, 1}, {2}), stream()), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, MemoryTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
