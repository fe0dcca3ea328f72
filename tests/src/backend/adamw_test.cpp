// The optimizer's passes, against the reference on every device and type.
#include <cmath>
#include <limits>

#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class AdamwTest : public DeviceTest {};

// Promise: three steps from zero moments, weights of `dtype` beside acc masters; then master and weight agree.
TEST_P(AdamwTest, StepsLikeTheReference) {
  const std::int64_t count = 9001;
  for (const bool separate_weight : {true, false})
    for (const DType moment : {acc(), DType::bf16}) {
      reference::AdamW wanted{random_values(count, 1), std::vector<double>(9001), std::vector<double>(9001)};
      Tensor master = tensor(wanted.master, {count}, acc());
      Tensor m = tensor(wanted.m, {count}, moment), v = tensor(wanted.v, {count}, moment);
      Tensor weight = separate_weight ? output({count}, dtype()) : Tensor{};
      AdamWArgs args{.lr = 1e-2, .weight_decay = 0.1};
      for (args.step = 1; args.step <= 3; ++args.step) {
        std::vector<double> grad = random_values(count, 10 + static_cast<std::uint64_t>(args.step));
        const Tensor gradient = tensor(grad, {count}, acc());
        ops().adamw(weight, master, m, v, gradient, 0.5, args, stream());
        wanted = reference::adamw(wanted, grad, 0.5, args);
        EXPECT_TRUE(near(read(master), wanted.master, acc_bound(128)));
        const Bound kept = moment == DType::bf16 ? Bound{1e-7, 0x1p-8 + 1e-6} : acc_bound(8);
        EXPECT_TRUE(near(read(m), wanted.m, kept));
        EXPECT_TRUE(near(read(v), wanted.v, kept));
        wanted.m = read(m);  // the next step starts from what was kept
        wanted.v = read(v);
      }
      if (!separate_weight) continue;
      std::vector<double> rounded = read(master);
      tensor(rounded, {count}, dtype());
      EXPECT_EQ(read(weight), rounded);
    }
}

// Promise: the sum of squares is added in f64 and does not depend on how the tensor came about.
TEST_P(AdamwTest, SumsSquares) {
  for (const std::int64_t count : {1, 31, 65536, 200003}) {
    std::vector<double> x = random_values(count, 1);
    const Tensor values = tensor(x, {count}, dtype());
    Tensor out_1 = tensor({3.0}, {1}, DType::f64), again_1 = tensor({3.0}, {1}, DType::f64);
    double wanted = 3.0;
    for (const double value : x) wanted += value * value;
    ops().sum_squares(out_1, values, stream());
    ops().sum_squares(again_1, values, stream());
    EXPECT_TRUE(near(read(out_1), {wanted}, {0, 1e-13}));
    EXPECT_EQ(read(again_1), read(out_1));
  }
}

// Promise: infinities and NaN are counted wherever they stand, nothing else is.
TEST_P(AdamwTest, CountsWhatIsNotFinite) {
  std::vector<double> x = random_values(100003, 1);
  x[0] = std::nan(""), x[70000] = -std::numeric_limits<double>::infinity();
  x[100002] = std::numeric_limits<double>::infinity(), x[5] = 3e38;
  Tensor out_1 = counts({4});
  ops().count_nonfinite(out_1, tensor(x, {100003}, dtype()), stream());
  EXPECT_EQ(read(out_1), (std::vector<double>{7}));
}

// Promise: unlike lengths and a step of 0 are refused at the call.
TEST_P(AdamwTest, RefusesWhatDoesNotFit) {
  Tensor three = output({3}, acc()), four = output({4}, acc());
  EXPECT_THROW(ops().adamw({}, three, three, three, four, 1.0, {}, stream()), Error);
  EXPECT_THROW(ops().adamw({}, three, three, three, three, 1.0, {.step = 0}, stream()), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, AdamwTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
