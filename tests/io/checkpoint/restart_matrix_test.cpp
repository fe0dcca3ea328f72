// Any layout goes on from any other's checkpoint: every logical tensor (weights, router biases, masters, both moments)
// comes back bit for bit, on every rank that holds a part of it and as a whole, and the next losses are those of the
// layout that wrote it. Layouts of fewer ranks than there are run on the first ranks; a pair runs where its larger
// layout has all of them.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "io/checkpoint/checkpoint_store.hpp"
#include "tests/parallel/layout_job.hpp"

namespace athanor {
namespace {

using testing::dense_config;
using testing::experts_config;
using testing::Job;
using testing::JobKind;
using testing::Layout;

constexpr std::int64_t kStepsBefore = 3, kStepsAfter = 2;

using Bytes = std::vector<std::byte>;
/// Losses and gradient norms of the steps after the checkpoint.
using Record = std::array<double, 2 * kStepsAfter>;

std::int64_t ranks_of(const Layout& layout) {
  return layout.mesh.pp * layout.mesh.dp * layout.mesh.cp * layout.mesh.tp;
}

std::string name_of(const Layout& layout) {
  const MeshShape& m = layout.mesh;
  return fmt::format("pp{}_dp{}_cp{}_tp{}_ep{}_{}", m.pp, m.dp, m.cp, m.tp, m.ep, layout.schedule.name);
}

/// The rectangle `spec` of a checkpoint's tensor, as it was stored.
Bytes stored(const CheckpointReader& reader, const ShardSpec& spec, Backend& ops, Stream& stream) {
  const NamedShard shard{spec, ops.empty(spec.extent, spec.dtype), false};
  reader.load({&shard, 1}, ops, stream, {});
  Bytes bytes(shard.local.bytes());
  ops.download(bytes, shard.local, stream);
  stream.synchronize();
  return bytes;
}

class RestartMatrix : public ::testing::Test {
 protected:
  RestartMatrix() {
    folder_ = std::filesystem::temp_directory_path() /
              ("athanor_restart_matrix_" + world_.broadcast(std::to_string(::getpid()), 0));
  }
  ~RestartMatrix() override {
    world_.barrier();
    if (world_.rank() == 0) std::filesystem::remove_all(folder_);
  }

  /// The first ranks, as many as the layout has; on the others nothing. Collective over the world.
  std::optional<HostGroup> ranks_for(const Layout& layout) {
    const bool takes_part = world_.rank() < ranks_of(layout);
    HostGroup group = world_.split(takes_part ? 0 : 1, world_.rank());
    if (!takes_part) return std::nullopt;
    return group;
  }

  Record go_on(Job& job) {
    Record record{};
    for (std::int64_t i = 0; i < kStepsAfter; ++i) {
      const StepResult result = job.run(kStepsBefore + 1 + i);
      record[static_cast<std::size_t>(2 * i)] = result.loss + result.mtp_loss + result.balance_loss;
      record[static_cast<std::size_t>(2 * i + 1)] = result.grad_norm;
    }
    return record;
  }
  void save(Job& job, HostGroup& group, const std::filesystem::path& folder) {
    CheckpointStore store(folder, group, *job.ops, {});
    RunState state;
    state.step = kStepsBefore;
    state.values["optimizer.state"] = job.step.state();
    store.save(state, job.step.shards(), *job.compute);
    store.finish();
  }
  std::filesystem::path checkpoint_of(const std::string& name) const {
    return CheckpointStore::list(folder_ / name).back();
  }

  /// Trains from the start on `layout`, leaves a checkpoint in the folder "from" and goes on. @returns what followed.
  Record write(const Layout& layout, const ModelConfig& config, const JobKind& kind) {
    if (world_.rank() == 0) std::filesystem::remove_all(folder_);
    world_.barrier();
    Record record{};
    if (auto group = ranks_for(layout)) {
      Job job(*group, layout, config, kind);
      for (std::int64_t step = 1; step <= kStepsBefore; ++step) job.run(step);
      save(job, *group, folder_ / "from");
      record = go_on(job);
    }
    std::vector<double> sums(record.begin(), record.end());
    if (world_.rank() != 0) std::fill(sums.begin(), sums.end(), 0.0);
    world_.sum(std::span(sums));  // rank 0's, on the ranks that wrote nothing too
    std::copy(sums.begin(), sums.end(), record.begin());
    return record;
  }

  /// Reads that checkpoint on `layout`, compares all of it, and goes on.
  void expect_goes_on(const Layout& layout, const ModelConfig& config, const JobKind& kind, const Record& wanted,
                      double bound) {
    if (auto group = ranks_for(layout)) {
      Job job(*group, layout, config, kind);
      const RunState state = load_checkpoint(checkpoint_of("from"), *group, job.step.shards(), *job.ops, *job.compute);
      job.step.after_load();
      job.step.restore(state.values.at("optimizer.state"));
      expect_weights_are_stored(job);
      save(job, *group, folder_ / name_of(layout));
      if (group->rank() == 0) expect_same_tensors(name_of(layout), *job.ops, *job.compute);
      const Record found = go_on(job);
      for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], wanted[i], bound) << "number " << i;
    }
    world_.barrier();
  }

 private:
  /// What this rank computes with, its part of a parameter that others hold too included.
  void expect_weights_are_stored(Job& job) {
    const CheckpointReader reader(checkpoint_of("from"));
    for (const NamedShard& shard : weight_shards(job.store)) {
      Bytes mine(shard.local.bytes());
      job.ops->download(mine, shard.local, *job.compute);
      job.compute->synchronize();
      EXPECT_TRUE(mine == stored(reader, shard.spec, *job.ops, *job.compute)) << shard.spec.name << " on this rank";
    }
  }
  /// Every logical tensor whole, and no other ones.
  void expect_same_tensors(const std::string& name, Backend& ops, Stream& stream) {
    const CheckpointReader before(checkpoint_of("from")), after(checkpoint_of(name));
    EXPECT_EQ(before.tensors().size(), after.tensors().size());
    for (const auto& [tensor, kept] : before.tensors()) {
      const auto found = after.tensors().find(tensor);
      if (found == after.tensors().end() || found->second.dtype != kept.dtype ||
          !(found->second.global == kept.global)) {
        ADD_FAILURE() << tensor << " is missing, or of another shape or type";
        continue;
      }
      const ShardSpec spec = whole(tensor, kept.dtype, kept.global);
      EXPECT_TRUE(stored(before, spec, ops, stream) == stored(after, spec, ops, stream)) << tensor;
    }
  }

 protected:
  /// All ordered pairs of these layouts whose larger one has all ranks. @returns how many there were.
  int run_pairs(const std::vector<Layout>& from, const std::vector<Layout>& to, const ModelConfig& config,
                const JobKind& kind, double bound) {
    int pairs = 0;
    for (const Layout& a : from) {
      std::optional<Record> record;
      for (const Layout& b : to) {
        if (std::max(ranks_of(a), ranks_of(b)) != world_.size()) continue;
        if (!record) record = write(a, config, kind);
        SCOPED_TRACE(name_of(a) + " to " + name_of(b));
        expect_goes_on(b, config, kind, *record, name_of(a) == name_of(b) ? 0.0 : bound);
        ++pairs;
      }
    }
    return pairs;
  }

  HostGroup world_ = HostGroup::world();
  std::filesystem::path folder_;
};

const Layout kOne{.mesh = {.dp = 1}};
const Layout kDp2{.mesh = {.dp = 2}};
const Layout kTp2{.mesh = {.dp = 1, .tp = 2}};
const Layout kCp2{.mesh = {.dp = 1, .cp = 2}};
const Layout kEp2{.mesh = {.dp = 2, .ep = 2}};
const Layout kPp2{.mesh = {.pp = 2, .dp = 1}, .schedule = {"1f1b"}};
const Layout kInterleaved2{.mesh = {.pp = 2, .dp = 1}, .schedule = {"interleaved"}};
const Layout kDualpipev2{.mesh = {.pp = 2, .dp = 1}, .schedule = {"dualpipev"}};
const Layout kDp4{.mesh = {.dp = 4}};
const Layout kDp2Ep4{.mesh = {.dp = 2, .cp = 2, .ep = 4}};
const Layout kCp2Tp2{.mesh = {.dp = 1, .cp = 2, .tp = 2}};
const Layout kDp2Tp2{.mesh = {.dp = 2, .tp = 2}};
const Layout kPp2Tp2Ep2{.mesh = {.pp = 2, .dp = 1, .tp = 2, .ep = 2}, .schedule = {"1f1b"}};
const Layout kPp4{.mesh = {.pp = 4, .dp = 1}, .schedule = {"zb1"}, .layer_split = {1, 1, 1, 1}};
const Layout kDualpipev4{.mesh = {.pp = 2, .dp = 2, .ep = 2}, .schedule = {"dualpipev"}};
const Layout kAll8{.mesh = {.pp = 2, .dp = 2, .tp = 2, .ep = 2}, .schedule = {"interleaved"}};
const Layout kDp8{.mesh = {.dp = 8, .ep = 8}, .ranks_per_node = 2};

// The axes alone, the schedules and one rank, in pairs.
TEST_F(RestartMatrix, AxesAlone) {
  const std::vector<Layout> from{kOne, kDp2, kTp2, kCp2, kEp2, kPp2, kDualpipev2};
  const std::vector<Layout> to{kOne, kDp2, kTp2, kCp2, kEp2, kPp2, kInterleaved2};
  if (world_.size() > 2)
    GTEST_SKIP() << "moves between layouts of one and two ranks; four and eight have tests of their own";
  EXPECT_EQ(run_pairs(from, to, experts_config(), {}, 1e-10), world_.size() == 1 ? 1 : 48);
}

// Combined axes, also to and from fewer ranks.
TEST_F(RestartMatrix, CombinedAxes) {
  const std::vector<Layout> fewer{kOne, kDp2, kTp2, kDualpipev2};
  const std::vector<Layout> combined{kDp4, kDp2Ep4, kCp2Tp2, kPp2Tp2Ep2, kPp4, kDualpipev4};
  if (world_.size() != 4) GTEST_SKIP() << "moves between layouts of four ranks, so it wants exactly four";
  EXPECT_EQ(run_pairs(combined, combined, experts_config(), {}, 1e-10), 36);
  EXPECT_EQ(run_pairs(fewer, {kPp2Tp2Ep2, kDualpipev4}, experts_config(), {}, 1e-10), 8);
  EXPECT_EQ(run_pairs({kDp2Ep4, kPp4}, fewer, experts_config(), {}, 1e-10), 8);
}

// Eight ranks, and the way from one rank to them and back.
TEST_F(RestartMatrix, EightRanks) {
  if (world_.size() != 8) GTEST_SKIP() << "moves between layouts of eight ranks, so it wants exactly eight";
  EXPECT_EQ(run_pairs({kOne, kPp2Tp2Ep2, kDp8}, {kAll8}, experts_config(), {}, 1e-10), 3);
  EXPECT_EQ(run_pairs({kAll8}, {kOne, kPp2Tp2Ep2, kDp8}, experts_config(), {}, 1e-10), 3);
}

// A dense model, whose embedding is its head: with a pipeline both ends hold it.
TEST_F(RestartMatrix, TiedHead) {
  const std::vector<Layout> from{kOne, kDp2, kPp2, kPp4}, to{kOne, kTp2, kDualpipev2, kDp2Tp2};
  if (world_.size() > 4) GTEST_SKIP() << "its layouts have at most four ranks; eight have a test of their own";
  const int wanted[] = {0, 1, 8, 0, 7};
  EXPECT_EQ(run_pairs(from, to, dense_config(), {}, 1e-10), wanted[world_.size()]);
}

// bf16: masters are tensors of their own and moments are rounded; these too come back bit for bit. The losses that
// follow differ by the rounding of activations, 8 bits of mantissa.
TEST_F(RestartMatrix, Bf16) {
  const std::vector<Layout> from{kOne, kDp2, kPp2, kPp2Tp2Ep2}, to{kOne, kTp2, kEp2, kDp2Tp2, kPp2Tp2Ep2};
  if (world_.size() > 4) GTEST_SKIP() << "its layouts have at most four ranks; eight have a test of their own";
  const int wanted[] = {0, 1, 8, 0, 11};
  const JobKind kind{.dtype = DType::bf16, .bf16_moments = true};
  EXPECT_EQ(run_pairs(from, to, experts_config(), kind, 3e-2), wanted[world_.size()]);
}

}  // namespace
}  // namespace athanor
