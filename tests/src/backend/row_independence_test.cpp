// The law that makes generation equal training: a row's result is the same bits whatever the number of rows and of
// threads, and column sums do not depend on the threads.
#include <omp.h>

#include <cmath>
#include <functional>
#include <map>
#include <vector>

#include "tests/support/device_fixture.hpp"
#include "tests/support/sanitized.hpp"

namespace athanor {
namespace {

class RowIndependenceTest : public DeviceTest {
 protected:
  static constexpr std::int64_t kRows = kSanitized ? 127 : 1021, kWidth = 203;

  ~RowIndependenceTest() override { omp_set_num_threads(threads_); }

  /// Rows [begin, end) of a fixed random matrix.
  Tensor rows(std::int64_t begin, std::int64_t end, std::uint64_t stream_id, DType type) {
    std::vector<double>& all = made_[stream_id];
    if (all.empty()) all = random_values(kRows * kWidth, stream_id, -4.0, 4.0);
    return tensor({all.begin() + begin * kWidth, all.begin() + end * kWidth}, {end - begin, kWidth}, type);
  }

  /// Runs `op(first row, last row)`, which returns rows of `width` values, for all rows and for parts, with one and
  /// with three threads.
  void expect_independent(std::int64_t width, const std::function<Tensor(std::int64_t, std::int64_t)>& op) {
    omp_set_num_threads(1);
    const auto all = read(op(0, kRows));
    for (const int threads : {1, 3})
      for (const auto& [begin, end] :
           {std::pair<std::int64_t, std::int64_t>{0, kRows}, {kRows / 2, kRows / 2 + 1}, {13, kRows - 21}}) {
        omp_set_num_threads(threads);
        const auto part = read(op(begin, end));
        for (std::size_t i = 0; i < part.size(); ++i)
          ASSERT_EQ(part[i], all[static_cast<std::size_t>(begin * width) + i])
              << "rows " << begin << ".." << end << " on " << threads << " threads, element " << i;
      }
  }

 private:
  std::map<std::uint64_t, std::vector<double>> made_;  ///< by stream: each is asked for again and again
  int threads_ = omp_get_max_threads();
};

// Promise: RMSNorm, forward and backward.
TEST_P(RowIndependenceTest, RmsNorm) {
  const Tensor w_D = rows(0, 1, 9, dtype());
  expect_independent(kWidth, [&](std::int64_t begin, std::int64_t end) {
    Tensor y_TD = output({end - begin, kWidth}, dtype()), rstd_T = output({end - begin}, acc());
    const Tensor x_TD = rows(begin, end, 1, dtype());
    ops().rms_norm_forward(y_TD, rstd_T, x_TD, w_D, 1e-6, stream());
    ops().rms_norm_backward_input(y_TD, y_TD, x_TD, w_D, rstd_T, {}, stream());
    return y_TD;
  });
}

// Promise: SwiGLU, whose rows are not a multiple of a vector, forward and backward.
TEST_P(RowIndependenceTest, Swiglu) {
  expect_independent(kWidth, [&](std::int64_t begin, std::int64_t end) {
    Tensor y_TF = output({end - begin, kWidth}, dtype()), dup_TF = output({end - begin, kWidth}, dtype());
    const Tensor gate_TF = rows(begin, end, 1, dtype()), up_TF = rows(begin, end, 2, dtype());
    ops().swiglu_forward(y_TF, gate_TF, up_TF, stream());
    ops().swiglu_backward(y_TF, dup_TF, y_TF, gate_TF, up_TF, stream());
    ops().add(y_TF, y_TF, dup_TF, stream());
    return y_TF;
  });
}

// Promise: rotary embedding.
TEST_P(RowIndependenceTest, Rope) {
  const RopeArgs args{.num_heads = 7, .head_dim = 29, .offset = 3, .rope_dim = 26};
  const Tensor cos_PR = tensor(random_values(130, 3), {10, 13}, acc()),
               sin_PR = tensor(random_values(130, 4), {10, 13}, acc());
  const auto positions = random_ids(kRows, 5, 10);
  expect_independent(kWidth, [&](std::int64_t begin, std::int64_t end) {
    Tensor x_TC = rows(begin, end, 1, dtype());
    ops().rope(x_TC, ids({positions.begin() + begin, positions.begin() + end}, {end - begin}), cos_PR, sin_PR, args,
               stream());
    return x_TC;
  });
}

// Promise: cross-entropy gradients.
TEST_P(RowIndependenceTest, CrossEntropy) {
  expect_independent(kWidth, [&](std::int64_t begin, std::int64_t end) {
    Tensor losses_T = output({end - begin}, acc()), logits_TV = rows(begin, end, 1, dtype());
    const std::vector<std::int32_t> targets(static_cast<std::size_t>(end - begin), 5);
    Tensor weights_T = output({end - begin}, acc());
    ops().fill(weights_T, 0.7, stream());
    ops().cross_entropy(losses_T, logits_TV, logits_TV, ids(targets, {end - begin}), weights_T, stream());
    return logits_TV;
  });
}

// Promise: distillation's gradients.
TEST_P(RowIndependenceTest, Distillation) {
  expect_independent(kWidth, [&](std::int64_t begin, std::int64_t end) {
    Tensor losses_T = output({end - begin}, acc()), logits_TV = rows(begin, end, 1, dtype());
    Tensor weights_T = output({end - begin}, acc());
    ops().fill(weights_T, 0.7, stream());
    ops().distillation(losses_T, logits_TV, logits_TV, rows(begin, end, 2, dtype()), weights_T, false, stream());
    return logits_TV;
  });
}

// Promise: routing, forward and backward, with both score functions.
TEST_P(RowIndependenceTest, Router) {
  for (const auto function : {ScoreFunction::sigmoid, ScoreFunction::softmax}) {
    const RouterArgs args{
        .score_function = function, .num_experts = kWidth, .top_k = 6, .num_groups = 7, .num_limited_groups = 3};
    const Tensor bias_E = rows(3, 4, 2, acc());
    expect_independent(kWidth, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t tokens = end - begin;
      Tensor scores_TE = output({tokens, kWidth}, acc()), weights_TK = output({tokens, 6}, acc());
      Tensor expert_ids_TK = output_ids({tokens, 6}), dlogits_TE = output({tokens, kWidth}, acc());
      ops().router_forward(scores_TE, expert_ids_TK, weights_TK, rows(begin, end, 1, acc()), bias_E, args, stream());
      ops().router_backward(dlogits_TE, weights_TK, scores_TE, scores_TE, expert_ids_TK, args, stream());
      return dlogits_TE;
    });
  }
}

// Promise: weighted sums of expert rows.
TEST_P(RowIndependenceTest, Unpermute) {
  const Tensor x_RD = rows(0, kRows, 1, dtype());
  const auto picked = random_ids(2 * kRows, 5, static_cast<std::int32_t>(kRows));
  const auto weights = random_values(2 * kRows, 6);
  expect_independent(kWidth, [&](std::int64_t begin, std::int64_t end) {
    Tensor y_TD = output({end - begin, kWidth}, dtype());
    ops().unpermute_rows(y_TD, x_RD, ids({picked.begin() + 2 * begin, picked.begin() + 2 * end}, {end - begin, 2}),
                         tensor({weights.begin() + 2 * begin, weights.begin() + 2 * end}, {end - begin, 2}, acc()),
                         false, stream());
    return y_TD;
  });
}

// Promise: sums over rows are the same bits on any number of threads.
TEST_P(RowIndependenceTest, SumsDoNotDependOnThreads) {
  const Tensor dy_TD = rows(0, kRows, 1, dtype()), x_TD = rows(0, kRows, 2, dtype());
  const Tensor rstd_T = tensor(random_values(kRows, 3), {kRows}, acc());
  const auto picked = random_ids(kRows, 5, 50);
  std::vector<std::vector<double>> found;
  for (const int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    Tensor db_D = output({kWidth}, acc()), dw_D = output({kWidth}, acc()), table = output({50, kWidth}, acc());
    Tensor squares_1 = output({1}, DType::f64);
    for (Tensor& t : {std::ref(db_D), std::ref(dw_D), std::ref(table), std::ref(squares_1)})
      ops().fill(t, 0.0, stream());
    ops().bias_backward(db_D, dy_TD, stream());
    ops().rms_norm_backward_weight(dw_D, dy_TD, x_TD, rstd_T, stream());
    ops().scatter_add_rows(table, dy_TD, ids(picked, {kRows}), stream());
    ops().sum_squares(squares_1, dy_TD, stream());
    std::vector<double> all = read(db_D);
    for (const Tensor& t : {dw_D, table, squares_1}) {
      const auto more = read(t);
      all.insert(all.end(), more.begin(), more.end());
    }
    found.push_back(all);
  }
  EXPECT_EQ(found[1], found[0]);
  EXPECT_EQ(found[2], found[0]);
}

INSTANTIATE_TEST_SUITE_P(Backends, RowIndependenceTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
