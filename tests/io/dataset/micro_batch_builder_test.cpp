#include "io/dataset/micro_batch_builder.hpp"
#include "io/dataset/mixture_dataset.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/io/dataset/dataset_fixture.hpp"
#include "tests/support/heap_counter.hpp"

namespace athanor {
namespace {

template <class T>
std::vector<T> values(Backend& ops, const Tensor& tensor, Stream& stream) {
  EXPECT_EQ(tensor.dtype(), dtype_of_v<T>);
  std::vector<T> host(static_cast<std::size_t>(tensor.numel()));
  ops.download(std::as_writable_bytes(std::span(host)), tensor, stream);
  stream.synchronize();
  return host;
}

using Ids = std::vector<std::int32_t>;
using Weights = std::vector<double>;

/// Runs on the guarded device too: the builder must not look into tensors, nor reuse rows before they are copied.
class MicroBatchBuilderTest : public ::testing::TestWithParam<const char*> {
 protected:
  Ids ids(const Tensor& tensor) { return values<std::int32_t>(*ops_, tensor, *stream_); }
  Weights weights(const Tensor& tensor) { return values<double>(*ops_, tensor, *stream_); }
  void fill(MicroBatchBuilder& builder, const Ids& tokens, std::int64_t rows) {
    const auto out = builder.rows(rows);
    ASSERT_EQ(out.size(), tokens.size());
    std::copy(tokens.begin(), tokens.end(), out.begin());
  }
  std::unique_ptr<Backend> ops_ = make_backend(GetParam());
  std::unique_ptr<Stream> stream_ = ops_->make_stream();
};

constexpr std::int32_t kEos = 9;
// Two rows of S = 5; documents end at 9.
const Ids kRows{1, 2, 9, 3, 4, 5, /**/ 6, 9, 9, 7, 8, 1};

// By hand, packed: targets are the next tokens, eos or not; all weigh the same; keys begin with the row.
TEST_P(MicroBatchBuilderTest, Packed) {
  MicroBatchBuilder builder(*ops_, {.sequence_length = 5, .vocab_size = 10, .eos_id = kEos, .acc = DType::f64});
  fill(builder, kRows, 2);
  MicroBatch batch;
  EXPECT_EQ(builder.count_targets(), 10);
  builder.build(batch, {.per_target = 0.05, .per_sequence = 0.25}, *stream_);
  EXPECT_EQ(batch.num_sequences, 2);
  EXPECT_EQ(batch.tokens_per_sequence, 5);
  EXPECT_EQ(batch.balance_weight, 0.5);
  EXPECT_EQ(ids(batch.tokens_T), (Ids{1, 2, 9, 3, 4, 6, 9, 9, 7, 8}));
  EXPECT_EQ(ids(batch.targets_T), (Ids{2, 9, 3, 4, 5, 9, 9, 7, 8, 1}));
  EXPECT_EQ(ids(batch.positions_T), (Ids{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
  EXPECT_EQ(ids(batch.key_begin_T), (Ids{0, 0, 0, 0, 0, 5, 5, 5, 5, 5}));
  EXPECT_EQ(weights(batch.loss_weights_T), Weights(10, 0.05));
  EXPECT_TRUE(batch.mtp.empty());
}

// By hand, isolated: positions and keys restart behind eos; eos has no target, even where the next document is one eos.
TEST_P(MicroBatchBuilderTest, Isolated) {
  MicroBatchBuilder builder(
      *ops_, {.sequence_length = 5, .vocab_size = 10, .isolate_documents = true, .eos_id = kEos, .acc = DType::f64});
  fill(builder, kRows, 2);
  MicroBatch batch;
  EXPECT_EQ(builder.count_targets(), 7);
  builder.build(batch, {.per_target = 0.5}, *stream_);
  EXPECT_EQ(ids(batch.positions_T), (Ids{0, 1, 2, 0, 1, 0, 1, 0, 0, 1}));
  EXPECT_EQ(ids(batch.key_begin_T), (Ids{0, 0, 0, 3, 3, 5, 5, 7, 8, 8}));
  EXPECT_EQ(ids(batch.targets_T), (Ids{2, 9, 0, 4, 5, 9, 0, 0, 8, 1}));
  EXPECT_EQ(weights(batch.loss_weights_T), (Weights{.5, .5, 0, .5, .5, .5, 0, 0, .5, .5}));
}

// By hand, two MTP modules: inputs one and two tokens ahead, targets two and three; weight lambda / D of a target's.
TEST_P(MicroBatchBuilderTest, MtpRowsPacked) {
  MicroBatchBuilder builder(
      *ops_, {.sequence_length = 5, .vocab_size = 10, .mtp_depth = 2, .eos_id = kEos, .acc = DType::f64});
  fill(builder, kRows, 2);
  MicroBatch batch;
  builder.build(batch, {.per_target = 1.0, .mtp = 0.5}, *stream_);
  ASSERT_EQ(batch.mtp.size(), 2U);
  EXPECT_EQ(ids(batch.mtp[0].tokens_T), (Ids{2, 9, 3, 4, 5, 9, 9, 7, 8, 1}));
  EXPECT_EQ(ids(batch.mtp[0].targets_T), (Ids{9, 3, 4, 5, 0, 9, 7, 8, 1, 0}));
  EXPECT_EQ(weights(batch.mtp[0].loss_weights_T), (Weights{.25, .25, .25, .25, 0, .25, .25, .25, .25, 0}));
  EXPECT_EQ(ids(batch.mtp[1].tokens_T), (Ids{9, 3, 4, 5, 0, 9, 7, 8, 1, 0}));
  EXPECT_EQ(ids(batch.mtp[1].targets_T), (Ids{3, 4, 5, 0, 0, 7, 8, 1, 0, 0}));
  EXPECT_EQ(weights(batch.mtp[1].loss_weights_T), (Weights{.25, .25, .25, 0, 0, .25, .25, .25, 0, 0}));
}

// By hand, isolated: no MTP input or target lies in another document.
TEST_P(MicroBatchBuilderTest, MtpRowsIsolated) {
  MicroBatchBuilder builder(*ops_, {.sequence_length = 5,
                                    .vocab_size = 10,
                                    .mtp_depth = 1,
                                    .isolate_documents = true,
                                    .eos_id = kEos,
                                    .acc = DType::f64});
  fill(builder, kRows, 2);
  MicroBatch batch;
  builder.build(batch, {.per_target = 1.0, .mtp = 0.5}, *stream_);
  EXPECT_EQ(ids(batch.mtp[0].tokens_T), (Ids{2, 9, 0, 4, 5, 9, 0, 0, 8, 1}));
  EXPECT_EQ(ids(batch.mtp[0].targets_T), (Ids{9, 0, 0, 5, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(weights(batch.mtp[0].loss_weights_T), (Weights{.5, 0, 0, .5, 0, 0, 0, 0, .5, 0}));
}

// An evaluation batch weighs the targets there are, and has no MTP rows.
TEST_P(MicroBatchBuilderTest, Evaluation) {
  MicroBatchBuilder builder(*ops_, {.sequence_length = 5, .vocab_size = 10, .mtp_depth = 1, .eos_id = kEos});
  fill(builder, kRows, 2);
  MicroBatch batch;
  builder.build_evaluation(batch, std::vector<std::int64_t>{5, 2}, *stream_);
  EXPECT_EQ(ids(batch.targets_T), (Ids{2, 9, 3, 4, 5, 9, 9, 7, 8, 1}));
  EXPECT_EQ(values<float>(*ops_, batch.loss_weights_T, *stream_), (std::vector<float>{1, 1, 1, 1, 1, 1, 1, 0, 0, 0}));
  EXPECT_TRUE(batch.mtp.empty());
}

// The second batch takes the place of the first, tensors and all: reading samples and building a batch asks the system
// for nothing more, nor the heap (the guarded device keeps a list of late work there).
TEST_P(MicroBatchBuilderTest, SteadyStateTakesNoMemory) {
  const athanor::testing::ScratchFolder folder;
  const MixtureDataset data({{TokenDataset(athanor::testing::make_token_file(folder / "a.h5", {300, 400}))}}, 64, 1);
  MicroBatchBuilder builder(*ops_, {.sequence_length = 64, .vocab_size = 264, .mtp_depth = 2, .eos_id = 257});
  MicroBatch batch;
  std::int64_t position = 0;
  const auto step = [&] {
    data.samples(position, builder.rows(3));
    position += 3;
    builder.build(batch, {}, *stream_);
    stream_->synchronize();
  };
  step();
  step();
  const auto system_before = ops_->arena().statistics().system_allocations;
  const auto heap_before = heap_allocations();
  for (int i = 0; i < 10; ++i) step();
  const auto heap_after = heap_allocations();
  EXPECT_EQ(ops_->arena().statistics().system_allocations, system_before);
  if (ops_->device().kind == Device::Kind::cpu) {
    EXPECT_EQ(heap_after, heap_before);
  }
}

// An id that the model does not have stops here, not in the embedding.
TEST_P(MicroBatchBuilderTest, RefusesForeignTokens) {
  MicroBatchBuilder builder(*ops_, {.sequence_length = 5, .vocab_size = 9, .eos_id = kEos});
  fill(builder, kRows, 2);
  MicroBatch batch;
  EXPECT_THROW(builder.build(batch, {}, *stream_), DataError);
}

INSTANTIATE_TEST_SUITE_P(Devices, MicroBatchBuilderTest, ::testing::Values("cpu", "cpu-guarded"),
                         [](const auto& info) { return std::string(info.param) == "cpu" ? "cpu" : "cpu_guarded"; });

}  // namespace
}  // namespace athanor
