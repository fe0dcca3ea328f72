// Decoding against the cache equals the full forward.
#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/model/transformer.hpp"
#include "tests/src/model/toy_models.hpp"

namespace athanor {
namespace {

using testing::ModelBench;

constexpr std::int64_t kSlots = 4, kPageRows = 16;

/// HostRows of a decode call on the host: token t of sequence s.
class HostRows {
 public:
  explicit HostRows(ModelBench& bench) : bench_(bench) {}
  void add(std::int32_t token, std::int64_t slot, std::int64_t position) {
    tokens_.push_back(token);
    slots_.push_back(static_cast<std::int32_t>(slot));
    positions_.push_back(static_cast<std::int32_t>(position));
    lengths_.push_back(static_cast<std::int32_t>(position + 1));
  }
  DecodeRows upload() const {
    // Four slots of one page each, in no order.
    return {.tokens_R = ids(tokens_),
            .positions_R = ids(positions_),
            .slots_R = ids(slots_),
            .lengths_R = ids(lengths_),
            .pages_SP = ids({2, 0, 3, 1}).reshaped({kSlots, 1}),
            .logit_rows_N = {},
            .cache_rows_R = {}};
  }
  Tensor ids(const std::vector<std::int32_t>& values) const {
    return upload_vector<std::int32_t>(bench_.ops(), values, {static_cast<std::int64_t>(values.size())},
                                       bench_.stream());
  }

 private:
  ModelBench& bench_;
  std::vector<std::int32_t> tokens_, positions_, slots_, lengths_;
};

constexpr std::int64_t kSequences = 2, kLength = 9;

class DecodeEveryFamily : public ::testing::TestWithParam<std::string> {};

// Promises: prefill in pieces, then single steps, of two sequences in scattered slots, give the full forward's logits.
TEST_P(DecodeEveryFamily, EqualsTheFullForward) {
  const ModelConfig config = testing::toy_models().at(GetParam());
  ModelBench bench(config);
  const testing::ToyBatchOptions options{
      .num_sequences = kSequences, .tokens_per_sequence = kLength, .vocab_size = config.vocab_size};
  const MicroBatch batch = bench.batch(options);
  ExecContext ctx = bench.evaluation(batch);
  const std::vector<double> full = bench.values(bench.model().logits(ctx));
  const std::vector<std::int32_t> tokens = testing::make_toy_tokens(options).tokens;
  const auto vocab = static_cast<std::size_t>(config.vocab_size);

  KvCache cache(bench.ops(), config, DType::f64, kSlots, kPageRows);
  const std::int64_t slot_of[kSequences] = {3, 1};
  std::vector<double> decoded(full.size(), NAN);
  // Token ranges of (sequence 0, sequence 1) in each call: a prefill beside a shorter one, a second piece, single
  // steps.
  const std::int64_t calls[][4] = {{0, 4, 0, 2}, {4, 4, 2, 6}, {4, 7, 6, 7}, {7, 8, 7, 8}, {8, 9, 8, 9}};
  for (const auto& call : calls) {
    HostRows rows(bench);
    std::vector<std::size_t> places;
    for (std::int64_t s = 0; s < kSequences; ++s)
      for (std::int64_t t = call[2 * s]; t < call[2 * s + 1]; ++t) {
        const auto place = static_cast<std::size_t>(s * kLength + t);
        rows.add(tokens[place], slot_of[s], t);
        places.push_back(place);
      }
    const std::vector<double> logits = bench.values(bench.model().decode(ctx, rows.upload(), cache));
    ASSERT_EQ(logits.size(), places.size() * vocab);
    for (std::size_t r = 0; r < places.size(); ++r)
      std::copy_n(logits.begin() + static_cast<std::ptrdiff_t>(r * vocab), vocab,
                  decoded.begin() + static_cast<std::ptrdiff_t>(places[r] * vocab));
  }
  EXPECT_LT(testing::relative_difference(decoded, full), 1e-10);
}

// Promises: only the rows asked for get logits, and they are the same numbers.
TEST_P(DecodeEveryFamily, GivesLogitsOfWantedRows) {
  const ModelConfig config = testing::toy_models().at(GetParam());
  ModelBench bench(config);
  const MicroBatch batch = bench.batch();
  ExecContext ctx = bench.evaluation(batch);
  KvCache cache(bench.ops(), config, DType::f64, kSlots, kPageRows);
  HostRows rows(bench);
  for (std::int64_t t = 0; t < 5; ++t) rows.add(static_cast<std::int32_t>(3 * t), 2, t);
  DecodeRows call = rows.upload();
  const std::vector<double> all = bench.values(bench.model().decode(ctx, call, cache));
  call.logit_rows_N = rows.ids({4, 1});
  const std::vector<double> some = bench.values(bench.model().decode(ctx, call, cache));
  const auto vocab = static_cast<std::ptrdiff_t>(config.vocab_size);
  std::vector<double> wanted(all.begin() + 4 * vocab, all.begin() + 5 * vocab);
  wanted.insert(wanted.end(), all.begin() + vocab, all.begin() + 2 * vocab);
  EXPECT_LT(testing::relative_difference(some, wanted), 1e-13);
}

INSTANTIATE_TEST_SUITE_P(Toys, DecodeEveryFamily, ::testing::ValuesIn(testing::toy_model_names()),
                         [](const auto& info) { return info.param; });

// Promises: the cache holds what the reports say a token costs, and refuses pages that attention does not read.
TEST(KvCacheTest, HoldsLatentRows) {
  ModelConfig v3 = testing::toy_deepseek_v3();
  EXPECT_EQ(KvCache::numbers_per_token(v3), 6 + 4);
  EXPECT_EQ(KvCache::numbers_per_token(testing::toy_llama()), 2 * 2 * 6);
  const auto ops = make_backend("cpu");
  KvCache cache(*ops, v3, DType::f32, 3, 16);
  EXPECT_EQ(cache.layer(0).k.shape(), (Shape{48, 10}));
  EXPECT_FALSE(cache.layer(0).v.defined());
  EXPECT_THROW(KvCache(*ops, v3, DType::f32, 1, 24), ConfigError);
  EXPECT_THROW(KvCache(*ops, v3, DType::f32, 0, 16), ConfigError);
}

}  // namespace
}  // namespace athanor
