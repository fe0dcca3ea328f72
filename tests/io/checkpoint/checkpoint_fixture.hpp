// A checkpoint folder of this test, a logical tensor whose elements tell step and place, and any rank's part of it.
// On the guarded device: host code that reads tensor memory, or before the stream is done, fails here.
// Before a collective only EXPECT: a one-rank ASSERT would leave the others inside it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint_store.hpp"
#include "src/base/error.hpp"

namespace athanor {

class CheckpointFixture : public testing::Test {
 protected:
  CheckpointFixture() : ranks_(HostGroup::world()), ops_(make_backend("cpu-guarded")), stream_(ops_->make_stream()) {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("athanor_" + std::string(test->name()) + "_np" + std::to_string(ranks_.size()) + "_" +
               ranks_.broadcast(std::to_string(::getpid()), 0));
    if (ranks_.rank() == 0) std::filesystem::remove_all(folder_);
    ranks_.barrier();
  }
  ~CheckpointFixture() override {
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
  /// Runs `work` on rank 0 alone, between the others' calls.
  template <class Work>
  void on_rank_0(const Work& work) {
    ranks_.barrier();
    if (ranks_.rank() == 0) work();
    ranks_.barrier();
  }
  std::filesystem::path newest() const { return CheckpointStore::list(folder_).back(); }
  static void put_byte(const std::filesystem::path& path, std::int64_t place, char value) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(place);
    file.put(value);
  }
  /// What `attempt` throws as E; a failure when it does not.
  template <class E, class Attempt>
  static std::string text_of(const Attempt& attempt) {
    try {
      attempt();
    } catch (const E& error) {
      return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }

  HostGroup ranks_;
  std::unique_ptr<Backend> ops_;
  std::unique_ptr<Stream> stream_;
  std::filesystem::path folder_;
};

}  // namespace athanor
