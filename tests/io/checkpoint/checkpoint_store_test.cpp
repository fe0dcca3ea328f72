// Checkpoints on 1, 2 and 4 ranks. Before a collective only EXPECT: a one-rank ASSERT would leave the others inside it.
#include "io/checkpoint/checkpoint_store.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "io/hdf5/file.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

class Checkpoints : public testing::Test {
 protected:
  Checkpoints() : ranks_(HostGroup::world()), ops_(make_backend("cpu")), stream_(ops_->make_stream()) {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("athanor_" + std::string(test->name()) + "_np" + std::to_string(ranks_.size()) + "_" +
               ranks_.broadcast(std::to_string(::getpid()), 0));
    if (ranks_.rank() == 0) std::filesystem::remove_all(folder_);
    ranks_.barrier();
  }
  ~Checkpoints() override {
    ranks_.barrier();
    if (ranks_.rank() == 0) std::filesystem::remove_all(folder_);
  }

  static double value_of(std::int64_t step, std::int64_t element) { return static_cast<double>(1000 * step + element); }

  /// This rank's flat slice of a logical [5, 3, 7] tensor, cut into `parts` slices, as boxes; elements = value_of(step,
  /// index).
  std::vector<NamedShard> slice(std::int64_t step, int part, int parts, const std::string& name = "model/w",
                                DType dtype = DType::f32) {
    const Shape global{5, 3, 7};
    const std::int64_t n = global.numel(), begin = n * part / parts, end = n * (part + 1) / parts;
    std::vector<NamedShard> shards;
    std::int64_t next = begin;
    for (const Box& box : boxes_of_flat_range(global, begin, end)) {
      std::vector<double> values(static_cast<std::size_t>(box.extent.numel()));
      for (double& value : values) value = value_of(step, next++);
      const Tensor wide = upload_vector<double>(*ops_, values, box.extent, *stream_);
      Tensor local = ops_->empty(box.extent, dtype);
      ops_->copy(local, wide, *stream_);
      shards.push_back({{name, dtype, global, box.offset, box.extent}, local, true});
    }
    return shards;
  }
  std::vector<NamedShard> mine(std::int64_t step) { return slice(step, ranks_.rank(), ranks_.size()); }

  std::vector<double> read(const Tensor& tensor) {
    Tensor wide = ops_->empty(tensor.shape(), DType::f64);
    ops_->copy(wide, tensor, *stream_);
    std::vector<double> values(static_cast<std::size_t>(tensor.numel()));
    ops_->download(std::as_writable_bytes(std::span(values)), wide, *stream_);
    stream_->synchronize();
    return values;
  }
  void expect_values(const std::vector<NamedShard>& shards, std::int64_t step) {
    for (const NamedShard& shard : shards) {
      const auto values = read(shard.local);
      std::size_t i = 0;
      for (std::int64_t a = shard.spec.offset[0]; a < shard.spec.offset[0] + shard.spec.extent[0]; ++a)
        for (std::int64_t b = shard.spec.offset[1]; b < shard.spec.offset[1] + shard.spec.extent[1]; ++b)
          for (std::int64_t c = shard.spec.offset[2]; c < shard.spec.offset[2] + shard.spec.extent[2]; ++c)
            EXPECT_EQ(values[i++], value_of(step, (a * 3 + b) * 7 + c));
    }
  }
  RunState state(std::int64_t step) {
    RunState state;
    state.stage = "pretrain";
    state.step = step;
    state.tokens = 10 * step;
    state.seed = 7;
    state.values["data.next_sample"] = std::to_string(3 * step);
    state.config_text = "[run]\nsteps = 3\n";
    state.layout_text = "dp " + std::to_string(ranks_.size());
    return state;
  }
  void save(CheckpointStore& store, std::int64_t step) {
    const auto shards = mine(step);
    store.save(state(step), shards, *stream_);
    store.finish();
  }
  /// Changes one byte of the tensor's data in a shard file.
  void flip_byte(std::int64_t step) {
    ranks_.barrier();
    if (ranks_.rank() == 0) {
      const auto checkpoint = CheckpointStore::list(folder_).back();
      const Manifest manifest = read_index(checkpoint / "index.h5");
      EXPECT_EQ(manifest.state.step, step);
      std::fstream file(checkpoint / manifest.files.back().name, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(manifest.files.back().pieces.front().file_offset + 5);
      file.put('\x5a');
    }
    ranks_.barrier();
  }

  HostGroup ranks_;
  std::unique_ptr<Backend> ops_;
  std::unique_ptr<Stream> stream_;
  std::filesystem::path folder_;
};

// Promise: what was saved on this layout is read back on any other cut, with the run's state.
TEST_F(Checkpoints, AreReadOnAnotherCut) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 5);
  for (const int parts : {1, 2, 3, 7}) {
    auto wanted = slice(0, ranks_.rank() % parts, parts);
    const auto found = store.load_latest(wanted, *stream_);
    EXPECT_TRUE(found.has_value());
    if (!found) continue;
    EXPECT_EQ(found->step, 5);
    EXPECT_EQ(found->tokens, 50);
    EXPECT_EQ(found->seed, 7U);
    EXPECT_EQ(found->values.at("data.next_sample"), "15");
    EXPECT_EQ(found->config_text, "[run]\nsteps = 3\n");
    expect_values(wanted, 5);
  }
}

// Promise: index.h5 shows the logical tensor whole to any HDF5 reader.
TEST_F(Checkpoints, ShowWholeTensorsToHdf5) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 2);
  if (ranks_.rank() == 0) {
    const auto index = hdf5::File::open_read_only(CheckpointStore::list(folder_).back() / "index.h5");
    std::vector<float> values(105);
    index.open_dataset("/model/w").read(std::as_writable_bytes(std::span(values)));
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], value_of(2, static_cast<std::int64_t>(i)));
  }
}

// Promise: the tensors may change the moment save() returns.
TEST_F(Checkpoints, AreSnapshots) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  auto shards = mine(3);
  store.save(state(3), shards, *stream_);
  for (auto& shard : shards) ops_->fill(shard.local, -1.0, *stream_);
  while (store.latest_step() != 3) store.poll();
  EXPECT_TRUE(store.load_latest(shards, *stream_).has_value());
  expect_values(shards, 3);
}

// Promise: a flipped byte is found and named, and the checkpoint before is used.
TEST_F(Checkpoints, DamagedOnesAreSkipped) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  save(store, 2);
  flip_byte(2);
  auto wanted = slice(0, 0, 1);
  if (ranks_.rank() == 0) {
    const CheckpointReader reader(CheckpointStore::list(folder_).back());
    const auto bad = reader.verify_all();
    EXPECT_EQ(bad.size(), 1U);
    EXPECT_TRUE(!bad.empty() && bad[0].find("model/w") != std::string::npos &&
                bad[0].find("shard_0000") != std::string::npos);
  }
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 1);
  expect_values(wanted, 1);
}

// Promise: a truncated and a missing shard are each found before anything is read; with nothing whole left the error
// says so.
TEST_F(Checkpoints, TruncatedAndMissingShardsAreFound) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  save(store, 2);
  ranks_.barrier();
  if (ranks_.rank() == 0) {
    const auto checkpoints = CheckpointStore::list(folder_);
    std::filesystem::resize_file(checkpoints[1] / "shard_00000.h5", 100);
    std::filesystem::remove(checkpoints[0] / "shard_00000.h5");
  }
  ranks_.barrier();
  auto wanted = mine(0);
  try {
    (void)store.load_latest(wanted, *stream_);
    ADD_FAILURE() << "loaded a damaged checkpoint";
  } catch (const DataError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("is missing"), std::string::npos) << text;
    EXPECT_NE(text.find("shard_00000.h5 has 100 bytes"), std::string::npos) << text;
  }
}

// Promise: another model's checkpoint is refused on every rank with both shapes; that is no damage, nothing older is
// tried.
TEST_F(Checkpoints, OfAnotherModelAreRefused) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  std::vector<NamedShard> other{{whole("model/w", DType::f32, {4, 4}), ops_->empty({4, 4}, DType::f32), true}};
  try {
    (void)store.load_latest(other, *stream_);
    ADD_FAILURE() << "loaded another model's checkpoint";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("[5, 3, 7], the model wants [4, 4]"), std::string::npos) << error.what();
  }
  std::vector<NamedShard> unknown{{whole("model/x", DType::f32, {4}), ops_->empty({4}, DType::f32), true}};
  EXPECT_THROW((void)store.load_latest(unknown, *stream_), ConfigError);
  auto other_type = slice(0, 0, 1, "model/w", DType::bf16);
  EXPECT_THROW((void)store.load_latest(other_type, *stream_), ConfigError);
  EXPECT_TRUE(store.load_latest(other_type, *stream_, {.convert_floats = true}).has_value());
}

// Promise: keep_last finished checkpoints stay, and what a crash left is put right at the next start.
TEST_F(Checkpoints, OldOnesGoAndLeftoversAreCleaned) {
  {
    CheckpointStore store(folder_, ranks_, *ops_, {.keep_last = 2});
    for (const std::int64_t step : {1, 2, 3, 4}) save(store, step);
    EXPECT_EQ(CheckpointStore::list(folder_).size(), 2U);
    ranks_.barrier();
  }
  if (ranks_.rank() == 0) {
    std::filesystem::create_directories(folder_ / "step_00000005.tmp");
    std::filesystem::rename(folder_ / "step_00000004", folder_ / "step_00000004.old");
  }
  ranks_.barrier();
  CheckpointStore store(folder_, ranks_, *ops_, {.keep_last = 2});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "step_00000005.tmp"));
  auto wanted = mine(0);
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 4);
}

// Promise: when a rank cannot write (here a limit on file size stands for a full disk), every rank gets the reason, and
// the checkpoint before is still whole.
TEST_F(Checkpoints, AFailedWriteLeavesTheFormerOne) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto big = upload_vector<double>(*ops_, std::vector<double>(1 << 16, 1.0), {1 << 16}, *stream_);
  std::vector<NamedShard> shards{{whole("model/big", DType::f64, {1 << 16}), big, true}};
  if (ranks_.rank() == ranks_.size() - 1) {
    const rlimit small{64 * 1024, old.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  store.save(state(2), shards, *stream_);
  try {
    store.finish();
    ADD_FAILURE() << "a save beyond the limit succeeded";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("the checkpoints before it are untouched"), std::string::npos)
        << error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &old);
  auto wanted = mine(0);
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 1);
  expect_values(wanted, 1);
}

}  // namespace
}  // namespace athanor
