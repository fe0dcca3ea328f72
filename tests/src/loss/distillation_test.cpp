// Distillation on logits: the gradient through head and softmax against central differences in f64, for every mixture
// of divergence and cross entropy; and the divergence worked out by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "src/loss/token_cross_entropy.hpp"
#include "tests/src/nn/layer_bench.hpp"

namespace athanor {
namespace {

// More tokens than a chunk of the head holds.
constexpr std::int64_t kTokens = 150, kDim = 5, kVocab = 7, kTeacherDim = 4;

struct Mixture {
  bool reverse;
  double temperature, hard_weight;
};

class DistillationTest : public ::testing::TestWithParam<Mixture> {
 protected:
  DistillationTest() {
    student_store.initialize(3, *stream);
    teacher_store.initialize(4, *stream);
    const Philox random(1, RandomPurpose::test);
    for (std::uint64_t i = 0; i < kTokens * kDim; ++i) h.push_back(random.normal(i));
    for (std::uint64_t i = 0; i < kTokens * kTeacherDim; ++i) teacher_h.push_back(random.normal(500 + i));
    for (std::uint64_t t = 0; t < kTokens; ++t) {
      targets.push_back(static_cast<std::int32_t>(random.word64(1000 + t) % kVocab));
      weights.push_back(t % 5 == 2 ? 0.0 : (0.1 + 0.002 * static_cast<double>(t)) / 10.0);
    }
  }
  Tensor reals(const std::vector<double>& values, const Shape& shape) {
    return upload_vector<double>(*ops, values, shape, *stream);
  }
  double run(std::vector<double>* dh) {
    const std::function<Tensor(ExecContext&, const Tensor&)> logits = [this](ExecContext& ctx, const Tensor& rows) {
      return teacher.logits(ctx, rows);
    };
    MicroBatch batch;
    batch.targets_T = upload_vector<std::int32_t>(*ops, targets, {kTokens}, *stream);
    batch.loss_weights_T = reals(weights, {kTokens});
    batch.teacher = MicroBatch::TeacherRows{reals(teacher_h, {kTokens, kTeacherDim}), &logits, GetParam().reverse,
                                            GetParam().temperature, GetParam().hard_weight};
    ExecContext ctx{*ops, *stream, *stream, batch, DType::f64, true};
    EXPECT_LT(TokenCrossEntropy::chunk_rows(kVocab, 1), kTokens) << "one chunk: their border is not tested";
    TokenCrossEntropy loss(student, 1);
    TokenCrossEntropy::Saved saved;
    const Tensor loss_1 = ops->empty({1}, DType::f64);
    ops->fill(loss_1, 0.0, *stream);
    loss.forward_distillation(ctx, reals(h, {kTokens, kDim}), loss_1, saved);
    double value = 0.0;
    ops->download(std::as_writable_bytes(std::span(&value, 1)), loss_1, *stream);
    if (dh) {
      dh->resize(h.size());
      ops->download(std::as_writable_bytes(std::span(*dh)), loss.backward_input(saved), *stream);
    }
    stream->synchronize();
    return value;
  }

  std::unique_ptr<Backend> ops = make_backend("cpu");
  std::unique_ptr<Stream> stream = ops->make_stream();
  LmHead student{"head.weight", DType::f64, kVocab, kDim, 0.5};
  LmHead teacher{"head.weight", DType::f64, kVocab, kTeacherDim, 0.7};
  ParameterStore student_store{*ops, student.parameters(), {}, *stream};
  ParameterStore teacher_store{*ops, teacher.parameters(), {}, *stream};
  std::vector<double> h, teacher_h, weights;
  std::vector<std::int32_t> targets;
};

TEST_P(DistillationTest, Gradcheck) {
  std::vector<double> dh;
  run(&dh);
  double largest = 0.0;
  for (const double value : dh) largest = std::max(largest, std::abs(value));
  EXPECT_GT(largest, 1e-4);
  for (std::size_t i = 0; i < h.size(); i += 3) {
    const double kept = h[i], step = 1e-5;
    h[i] = kept + step;
    const double above = run(nullptr);
    h[i] = kept - step;
    const double below = run(nullptr);
    h[i] = kept;
    EXPECT_NEAR(dh[i], (above - below) / (2.0 * step), 1e-6 * largest + 1e-11) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Mixtures, DistillationTest,
                         ::testing::Values(Mixture{false, 1.0, 0.0}, Mixture{true, 1.0, 0.0}, Mixture{false, 2.0, 0.3},
                                           Mixture{true, 0.5, 0.3}, Mixture{false, 1.0, 1.0}));

// Teacher (3/4, 1/4), student (1/2, 1/2): forward KL is 3/4 log 3/2 + 1/4 log 1/2, reverse 1/2 log 2/3 + 1/2 log 2.
// Weight 0 costs nothing.
TEST(Distillation, DivergenceByHand) {
  const auto ops = make_backend("cpu");
  const auto stream = ops->make_stream();
  const std::vector<double> student(4, 0.0), teacher{std::log(3.0), 0.0, std::log(3.0), 0.0}, weights{1.0, 0.0};
  const auto put = [&](const std::vector<double>& values, const Shape& shape) {
    return upload_vector<double>(*ops, values, shape, *stream);
  };
  for (const bool reverse : {false, true}) {
    const Tensor losses_T = ops->empty({2}, DType::f64), dlogits_TV = ops->empty({2, 2}, DType::f64);
    ops->distillation(losses_T, dlogits_TV, put(student, {2, 2}), put(teacher, {2, 2}), put(weights, {2}), reverse,
                      *stream);
    std::vector<double> losses(2), gradient(4);
    ops->download(std::as_writable_bytes(std::span(losses)), losses_T, *stream);
    ops->download(std::as_writable_bytes(std::span(gradient)), dlogits_TV, *stream);
    stream->synchronize();
    const double forward = 0.75 * std::log(1.5) + 0.25 * std::log(0.5);
    const double backward = 0.5 * std::log(2.0 / 3.0) + 0.5 * std::log(2.0);
    EXPECT_NEAR(losses[0], reverse ? backward : forward, 1e-12);
    EXPECT_EQ(losses[1], 0.0);
    EXPECT_NEAR(gradient[0] + gradient[1], 0.0, 1e-12);
    if (!reverse) {
      EXPECT_NEAR(gradient[0], -0.25, 1e-12);
    }
    EXPECT_EQ(gradient[2], 0.0);
  }
}

}  // namespace
}  // namespace athanor
