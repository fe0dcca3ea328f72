// Checkpoints on 1, 2 and 4 ranks: what is saved comes back.
#include "io/checkpoint/checkpoint_store.hpp"

#include "io/hdf5/file.hpp"
#include "tests/io/checkpoint/checkpoint_fixture.hpp"

namespace athanor {
namespace {

class Checkpoints : public CheckpointFixture {};

// Promise: what was saved on this layout is read back on any other cut, with the run's state.
TEST_F(Checkpoints, AreReadOnAnotherCut) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 5);
  for (const int parts : {1, 2, 3, 7}) {
    auto wanted = slice(0, ranks_.rank() % parts, parts);
    if (parts > ranks_.size()) wanted = slice(0, 0, 1);  // the ranks together have to want every tensor, not every part
    const auto found = store.load_latest(wanted, *stream_);
    EXPECT_TRUE(found.has_value());
    if (!found) continue;
    EXPECT_EQ(found->step, 5);
    EXPECT_EQ(found->tokens, 50);
    EXPECT_EQ(found->seed, 7U);
    EXPECT_EQ(found->stage, "pretrain");
    EXPECT_EQ(found->values.at("data.next_sample"), "15");
    EXPECT_EQ(found->config_text, "[run]\nsteps = 3\n");
    expect_values(wanted, 5);
  }
}

// Promise: column parts, as tensor parallelism cuts them, written by three ranks' worth of boxes, are read as rows.
TEST_F(Checkpoints, ColumnsAreReadAsRows) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  const auto whole_tensor = slice(3, 0, 1);
  const auto numbers = read(whole_tensor[0].local);
  std::vector<NamedShard> columns;
  for (const auto& [begin, width] : {std::pair{0, 2}, std::pair{2, 1}, std::pair{3, 4}}) {
    std::vector<float> part;
    for (int row = 0; row < 15; ++row)
      for (int column = begin; column < begin + width; ++column)
        part.push_back(static_cast<float>(numbers[static_cast<std::size_t>(row * 7 + column)]));
    const Tensor local = upload_vector<float>(*ops_, part, {5, 3, width}, *stream_);
    columns.push_back({{"model/w", DType::f32, {5, 3, 7}, {0, 0, begin}, {5, 3, width}}, local, ranks_.rank() == 0});
  }
  store.save(state(3), columns, *stream_);
  store.finish();

  const auto rows = mine(0);
  EXPECT_TRUE(store.load_latest(rows, *stream_).has_value());
  expect_values(rows, 3);
}

// Promise: every element type comes back bit for bit, scalars and replicas (one rank writes, all read) included.
TEST_F(Checkpoints, EveryTypeRoundTrips) {
  std::vector<NamedShard> shards;
  std::vector<std::vector<std::byte>> wanted;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8})
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 1, 2, 2}}) {
      const Tensor local = ops_->empty(shape, dtype);
      std::vector<std::byte> bytes(local.bytes());
      for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(37 * i + shards.size());
      ops_->upload(local, bytes, *stream_);
      shards.push_back({whole("model/" + std::to_string(shards.size()), dtype, shape), local, ranks_.rank() == 0});
      wanted.push_back(bytes);
    }
  CheckpointStore store(folder_, ranks_, *ops_, {});
  store.save(state(1), shards, *stream_);
  store.finish();
  for (const NamedShard& shard : shards) ops_->fill(shard.local, 0.0, *stream_);

  EXPECT_TRUE(store.load_latest(shards, *stream_).has_value());

  for (std::size_t i = 0; i < shards.size(); ++i) {
    std::vector<std::byte> found(wanted[i].size());
    ops_->download(found, shards[i].local, *stream_);
    stream_->synchronize();
    EXPECT_EQ(found, wanted[i]) << shards[i].local.to_string();
  }
}

// Promise: index.h5 shows every logical tensor whole to any HDF5 reader.
TEST_F(Checkpoints, ShowWholeTensorsToHdf5) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 2);
  if (ranks_.rank() == 0) {
    const auto index = hdf5::File::open_read_only(newest() / "index.h5");
    std::vector<float> values(105);
    index.open_dataset("/model/w").read(std::as_writable_bytes(std::span(values)));
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], value_of(2, static_cast<std::int64_t>(i)));
    EXPECT_EQ(index.read_text("/config"), "[run]\nsteps = 3\n");
    EXPECT_EQ(index.read_integer_attribute("/", "step"), 2);
  }
}

// Promise: what `inspect` shows is there: tensors with type, shape and size, the state, and clean checksums.
TEST_F(Checkpoints, ReaderListsTensors) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 2);
  if (ranks_.rank() == 0) {
    const CheckpointReader reader(newest());
    EXPECT_EQ(reader.tensors().size(), 1U);
    const StoredTensor& tensor = reader.tensors().at("model/w");
    EXPECT_EQ(tensor.dtype, DType::f32);
    EXPECT_EQ(tensor.global, (Shape{5, 3, 7}));
    EXPECT_EQ(tensor.bytes(), 420);
    EXPECT_EQ(reader.state().layout_text, "dp " + std::to_string(ranks_.size()));
    EXPECT_TRUE(reader.verify_all().empty());
  }
}

// Promise: the tensors may change the moment save() returns, and poll() alone brings a save to its end.
TEST_F(Checkpoints, AreSnapshots) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  auto shards = mine(3);
  store.save(state(3), shards, *stream_);
  for (auto& shard : shards) ops_->fill(shard.local, -1.0, *stream_);
  while (store.save_in_flight()) store.poll();
  EXPECT_EQ(store.latest_step(), 3);
  std::string latest;
  std::ifstream(folder_ / "latest") >> latest;
  EXPECT_EQ(latest, "step_00000003");
  EXPECT_EQ(store.statistics().saves, 1);
  EXPECT_GT(store.statistics().stall_seconds, 0.0);
  EXPECT_GT(store.statistics().write_seconds, 0.0);
  EXPECT_EQ(ranks_.sum(static_cast<std::int64_t>(store.statistics().bytes)), 420);
  EXPECT_TRUE(store.load_latest(shards, *stream_).has_value());
  expect_values(shards, 3);
}

// Promise: large pieces of odd sizes, which go past the page cache, come back to the bit; preparing changes nothing but
// the first stall.
TEST_F(Checkpoints, LargePiecesOfOddSizesRoundTrip) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  const auto large = [&](std::int64_t first) {
    std::vector<NamedShard> shards;
    for (const std::int64_t rows : {1001, 7, 4096}) {  // 24.4 pages, less than one, 100 whole ones
      std::vector<double> values(static_cast<std::size_t>(rows * 25));
      for (double& value : values) value = static_cast<double>(first++);
      const Tensor wide = upload_vector<double>(*ops_, values, {rows, 25}, *stream_);
      const Tensor local = ops_->empty({rows, 25}, DType::f32);
      ops_->copy(local, wide, *stream_);
      const std::string name = "model/w" + std::to_string(rows) + "_" + std::to_string(ranks_.rank());
      shards.push_back({whole(name, DType::f32, {rows, 25}), local, true});
    }
    return shards;
  };
  const auto saved = large(10);
  store.prepare(saved);
  store.save(state(1), saved, *stream_);
  store.finish();

  const auto loaded = large(0);
  EXPECT_TRUE(store.load_latest(loaded, *stream_).has_value());
  for (std::size_t i = 0; i < saved.size(); ++i) EXPECT_EQ(read(loaded[i].local), read(saved[i].local)) << i;
}

// Promise: a second save waits for the first; both are whole.
TEST_F(Checkpoints, SavesQueueUp) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  for (const std::int64_t step : {1, 2, 3}) store.save(state(step), mine(step), *stream_);
  store.finish();
  for (const std::int64_t step : {1, 2, 3}) {
    const auto wanted = mine(0);
    const auto path = CheckpointStore::list(folder_)[static_cast<std::size_t>(step - 1)];
    EXPECT_EQ(CheckpointStore::load(path, ranks_, wanted, *ops_, *stream_).step, step);
    expect_values(wanted, step);
  }
}

// Promise: keep_last finished checkpoints stay, and what a crash left is put right at the next start.
TEST_F(Checkpoints, OldOnesGoAndLeftoversAreCleaned) {
  {
    CheckpointStore store(folder_, ranks_, *ops_, {.keep_last = 2});
    for (const std::int64_t step : {1, 2, 3, 4}) save(store, step);
    EXPECT_EQ(CheckpointStore::list(folder_).size(), 2U);
  }
  on_rank_0([&] {
    std::filesystem::create_directories(folder_ / "step_00000005.tmp");
    std::filesystem::create_directories(folder_ / "step_00000002.removed");
    std::filesystem::rename(folder_ / "step_00000004", folder_ / "step_00000004.old");
  });
  CheckpointStore store(folder_, ranks_, *ops_, {.keep_last = 2});
  EXPECT_EQ(store.latest_step(), 4);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "step_00000005.tmp"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "step_00000002.removed"));
  auto wanted = mine(0);
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 4);
}

// Promise: a run that went back writes its own future: the step it reaches again replaces the old one, and what lies
// beyond is set aside, so the newest is always the run's own.
TEST_F(Checkpoints, GoingBackSetsTheOldFutureAside) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  for (const std::int64_t step : {1, 2, 3}) save(store, step);
  const auto again = mine(77);
  store.save(state(2), again, *stream_);
  store.finish();

  const auto wanted = mine(0);
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 2);
  expect_values(wanted, 77);
  EXPECT_EQ(CheckpointStore::list(folder_).size(), 2U);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "step_00000003.abandoned" / "index.h5"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "step_00000002.old"));
}

// Promise: readers change nothing in a folder that another job is writing.
TEST_F(Checkpoints, ReadersTouchNothing) {
  {
    CheckpointStore store(folder_, ranks_, *ops_, {});
    save(store, 1);
  }
  on_rank_0([&] { std::filesystem::create_directories(folder_ / "step_00000002.tmp"); });
  const auto wanted = mine(0);
  const auto found = load_newest_checkpoint(folder_, ranks_, wanted, *ops_, *stream_);
  EXPECT_TRUE(found && found->step == 1);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "step_00000002.tmp"));
  EXPECT_FALSE(load_newest_checkpoint(folder_ / "nowhere", ranks_, wanted, *ops_, *stream_).has_value());
}

}  // namespace
}  // namespace athanor
