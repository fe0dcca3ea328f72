// Checkpoints on 1, 2 and 4 ranks: what is damaged, unfit or cannot be written is told by all ranks alike, and what was
// good before stays so.
#include <sys/resource.h>

#include <csignal>

#include "src/base/rng.hpp"
#include "tests/io/checkpoint/checkpoint_fixture.hpp"

namespace athanor {
namespace {

class DamagedCheckpoints : public CheckpointFixture {
 protected:
  bool is_last_rank() const { return ranks_.rank() == ranks_.size() - 1; }
};

/// A limit on the size of files stands for a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit small{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &old_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_{};
};

// Promise: a flipped byte is found and named with file and tensor, and the checkpoint before is used.
TEST_F(DamagedCheckpoints, FlippedByteIsNamedAndTheOneBeforeUsed) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  save(store, 2);
  on_rank_0([&] {
    const Manifest manifest = read_index(newest() / "index.h5");
    const ManifestFile& file = manifest.files.back();
    put_byte(newest() / file.name, file.pieces.front().file_offset + 5, '\x5a');
    const auto bad = CheckpointReader(newest()).verify_all();
    EXPECT_EQ(bad.size(), 1U);
    EXPECT_TRUE(!bad.empty() && bad[0].find("model/w") != std::string::npos &&
                bad[0].find(file.name) != std::string::npos);
  });
  auto wanted = slice(0, 0, 1);
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 1);
  expect_values(wanted, 1);
}

// Promise: no changed byte of the index goes unnoticed, wherever it is.
TEST_F(DamagedCheckpoints, AnyByteOfTheIndexCounts) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  on_rank_0([&] {
    const auto path = newest() / "index.h5";
    std::string good(std::filesystem::file_size(path), '\0');
    std::ifstream(path, std::ios::binary).read(good.data(), static_cast<std::streamsize>(good.size()));
    const Philox random(1, RandomPurpose::test);
    for (std::uint64_t i = 0; i < 200; ++i) {
      // The rest of the seal's block, past its text, is the only part that means nothing.
      const std::size_t place = i == 0 ? 0 : 512 + random.word64(i) % (good.size() - 512);
      put_byte(path, static_cast<std::int64_t>(place), static_cast<char>(good[place] ^ 1));
      EXPECT_THROW((void)read_index(path), DataError) << "byte " << place;
      put_byte(path, static_cast<std::int64_t>(place), good[place]);
    }
    EXPECT_EQ(read_index(path).state.step, 1);
    std::filesystem::resize_file(path, good.size() - 1);
    EXPECT_THROW((void)read_index(path), DataError);
    std::filesystem::resize_file(path, 100);
    EXPECT_NE(text_of<DataError>([&] { (void)read_index(path); }).find("truncated"), std::string::npos);
  });
}

// Promise: a truncated and a missing shard are each found before anything is read; with nothing whole left the error
// says so.
TEST_F(DamagedCheckpoints, TruncatedAndMissingShardsAreFound) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  save(store, 2);
  on_rank_0([&] {
    const auto checkpoints = CheckpointStore::list(folder_);
    std::filesystem::resize_file(checkpoints[1] / "shard_00000.h5", 100);
    std::filesystem::remove(checkpoints[0] / "shard_00000.h5");
  });
  auto wanted = mine(0);
  const auto text = text_of<DataError>([&] { (void)store.load_latest(wanted, *stream_); });
  EXPECT_NE(text.find("is missing"), std::string::npos) << text;
  EXPECT_NE(text.find("shard_00000.h5 has 100 bytes"), std::string::npos) << text;
}

// Promise: another model's checkpoint is refused on every rank with both shapes; that is no damage, nothing older is
// tried.
TEST_F(DamagedCheckpoints, OfAnotherModelAreRefused) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  // One rank alone sees the difference; all refuse.
  std::vector<NamedShard> other = slice(0, 0, 1);
  if (is_last_rank()) other = {{whole("model/w", DType::f32, {4, 4}), ops_->empty({4, 4}, DType::f32), true}};
  const auto text = text_of<ConfigError>([&] { (void)store.load_latest(other, *stream_); });
  EXPECT_NE(text.find("model/w has shape [5, 3, 7], the model wants [4, 4]"), std::string::npos) << text;
  std::vector<NamedShard> unknown{{whole("model/x", DType::f32, {4}), ops_->empty({4}, DType::f32), true}};
  EXPECT_THROW((void)store.load_latest(unknown, *stream_), ConfigError);
  auto other_type = slice(0, 0, 1, "model/w", DType::bf16);
  EXPECT_THROW((void)store.load_latest(other_type, *stream_), ConfigError);
  EXPECT_TRUE(store.load_latest(other_type, *stream_, {.convert_floats = true}).has_value());
  const auto as_bf16 = static_cast<double>(static_cast<float>(bf16(static_cast<float>(value_of(1, 104)))));
  EXPECT_EQ(read(other_type[0].local)[104], as_bf16);
}

// Promise: a checkpoint of a larger model, whose tensors all fit, is refused too; kinds that nobody asks for may stay.
TEST_F(DamagedCheckpoints, OfALargerModelAreRefused) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  auto shards = mine(1);
  for (const char* name : {"model/more", "optimizer/m/w"})
    for (const NamedShard& shard : slice(1, ranks_.rank(), ranks_.size(), name)) shards.push_back(shard);
  store.save(state(1), shards, *stream_);
  store.finish();

  const auto part = mine(0);
  const auto text = text_of<ConfigError>([&] { (void)store.load_latest(part, *stream_); });
  EXPECT_NE(text.find("holds 1 tensors that this run does not have, the first is model/more"), std::string::npos)
      << text;
  EXPECT_TRUE(store.load_latest(part, *stream_, {.allow_unused = true}).has_value());
  expect_values(part, 1);
}

// Promise: every element has exactly one writer, or there is no checkpoint.
TEST_F(DamagedCheckpoints, HolesAndDoublesAreNotSaved) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  auto shards = slice(1, ranks_.rank(), ranks_.size() + 1);  // nobody has the last part
  store.save(state(1), shards, *stream_);
  const auto text = text_of<DataError>([&] { store.finish(); });
  EXPECT_NE(text.find("tensor model/w [5, 3, 7] have "), std::string::npos) << text;
  // Rows 0 to 2 and 1 to 2: five rows, as many as the tensor has, but not each once.
  const Tensor three = ops_->empty({3, 3, 7}, DType::f32);
  std::vector<NamedShard> doubles(2, NamedShard{whole("model/w", DType::f32, {5, 3, 7}), three, is_last_rank()});
  doubles[0].spec.extent = {3, 3, 7};
  doubles[1].spec.offset = {1, 0, 0};
  doubles[1].spec.extent = {2, 3, 7};
  doubles[1].local = three.rows(0, 2);
  store.save(state(2), doubles, *stream_);
  EXPECT_NE(text_of<DataError>([&] { store.finish(); }).find("from [1, 0, 0] on, [2, 3, 7] of them"),
            std::string::npos);
  EXPECT_TRUE(CheckpointStore::list(folder_).empty());
  save(store, 3);
  EXPECT_EQ(store.latest_step(), 3);
}

// Promise: an error of one rank in save() is thrown on all, none waits.
TEST_F(DamagedCheckpoints, OneRanksErrorIsEveryRanks) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  auto shards = mine(1);
  if (is_last_rank()) shards[0].local = ops_->empty({1}, DType::f32);
  const auto text = text_of<Error>([&] { store.save(state(1), shards, *stream_); });
  EXPECT_NE(text.find("is not in the tensor f32[1]"), std::string::npos) << text;
  EXPECT_FALSE(store.save_in_flight());
}

// Promise: when one rank cannot write its shard, every rank gets the reason, and the checkpoint before is still whole.
TEST_F(DamagedCheckpoints, AFullDiskLeavesTheFormerOne) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  const auto big = upload_vector<double>(*ops_, std::vector<double>(1 << 16, 1.0), {1 << 16}, *stream_);
  std::vector<NamedShard> shards{{whole("model/big", DType::f64, {1 << 16}), big, is_last_rank()}};
  {
    std::optional<FileSizeLimit> limit;
    if (is_last_rank()) limit.emplace(64 * 1024);
    store.save(state(2), shards, *stream_);
    const auto text = text_of<DataError>([&] { store.finish(); });
    EXPECT_NE(text.find("the checkpoints before it are untouched"), std::string::npos) << text;
    EXPECT_NE(text.find("File too large"), std::string::npos) << text;
  }
  auto wanted = mine(0);
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 1);
  expect_values(wanted, 1);
  save(store, 3);
  EXPECT_EQ(store.latest_step(), 3);
}

// Promise: the same when only the index finds no room.
TEST_F(DamagedCheckpoints, AnIndexWithoutRoomLeavesTheFormerOne) {
  CheckpointStore store(folder_, ranks_, *ops_, {});
  save(store, 1);
  RunState large = state(2);
  large.config_text.assign(1 << 20, '#');
  const auto shards = mine(2);
  {
    const FileSizeLimit limit(256 * 1024);
    store.save(large, shards, *stream_);
    const auto text = text_of<DataError>([&] { store.finish(); });
    EXPECT_NE(text.find("index.h5"), std::string::npos) << text;
  }
  auto wanted = mine(0);
  const auto found = store.load_latest(wanted, *stream_);
  EXPECT_TRUE(found && found->step == 1);
}

}  // namespace
}  // namespace athanor
