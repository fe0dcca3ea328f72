// Elementwise operations, against the reference on every device and type.
#include "tests/support/device_fixture.hpp"
#include "tests/support/reference_ops.hpp"

namespace athanor {
namespace {

class ElementwiseTest : public DeviceTest {};

// Promise: sums and products of odd sizes; the output of add may be an operand.
TEST_P(ElementwiseTest, AddsAndScales) {
  std::vector<double> a = random_values(20011, 1), b = random_values(20011, 2);
  const Tensor ta = tensor(a, {20011}, dtype()), tb = tensor(b, {20011}, dtype());
  Tensor out = output({20011}, dtype());
  ops().add(out, ta, tb, stream());
  EXPECT_TRUE(near(read(out), reference::add(a, b), bound(1)));
  ops().add(ta, ta, tb, stream());
  EXPECT_TRUE(near(read(ta), reference::add(a, b), bound(1)));
  ops().scale(tb, 0.3, stream());
  EXPECT_TRUE(near(read(tb), reference::scale(b, 0.3), bound(2)));
}

// Promise: a bias reaches every row; its gradient is the column sum, added to what was there.
TEST_P(ElementwiseTest, AddsBiases) {
  for (const std::int64_t columns : {1, 63, 64, 201}) {
    const std::int64_t rows = 333;
    std::vector<double> x = random_values(rows * columns, 1), b = random_values(columns, 2);
    const Tensor x_TO = tensor(x, {rows, columns}, dtype());
    ops().add_bias(x_TO, tensor(b, {columns}, dtype()), stream());
    EXPECT_TRUE(near(read(x_TO), reference::add_bias(x, b), bound(1)));

    std::vector<double> dy = random_values(rows * columns, 3), db = random_values(columns, 4);
    Tensor db_O = tensor(db, {columns}, acc());
    ops().bias_backward(db_O, tensor(dy, {rows, columns}, dtype()), stream());
    // Partial sums of 64 numbers of size 1 in f32: a few units of 8.
    EXPECT_TRUE(near(read(db_O), reference::bias_backward(db, dy), acc_bound(200)));
  }
}

// Promise: silu(gate) * up and its gradient, from far negative to far positive gates; in place too.
TEST_P(ElementwiseTest, ComputesSwiglu) {
  const std::int64_t rows = 61, width = 193, count = rows * width;
  std::vector<double> gate = random_values(count, 1, -12.0, 12.0), up = random_values(count, 2);
  gate[0] = -200.0, gate[1] = 200.0, gate[2] = 0.0;
  std::vector<double> dy = random_values(count, 3);
  const Shape shape{rows, width};
  const Tensor gate_TF = tensor(gate, shape, dtype()), up_TF = tensor(up, shape, dtype()),
               dy_TF = tensor(dy, shape, dtype());
  Tensor y_TF = output(shape, dtype()), dgate_TF = output(shape, dtype()), dup_TF = output(shape, dtype());

  ops().swiglu_forward(y_TF, gate_TF, up_TF, stream());
  ops().swiglu_backward(dgate_TF, dup_TF, dy_TF, gate_TF, up_TF, stream());
  ops().swiglu_backward(gate_TF, up_TF, dy_TF, gate_TF, up_TF, stream());

  const auto wanted = reference::swiglu_backward(dy, gate, up);
  EXPECT_TRUE(near(read(y_TF), reference::swiglu_forward(gate, up), bound(8)));
  // 1 - sigmoid cancels: the error is absolute, |g| units.
  EXPECT_TRUE(near(read(dgate_TF), wanted.dgate, bound(32)));
  EXPECT_TRUE(near(read(dup_TF), wanted.dup, bound(8)));
  EXPECT_EQ(read(gate_TF), read(dgate_TF));
  EXPECT_EQ(read(up_TF), read(dup_TF));
}

// Promise: operands of other sizes or types are refused at the call.
TEST_P(ElementwiseTest, RefusesWhatDoesNotFit) {
  Tensor three = output({3}, dtype()), four = output({4}, dtype());
  EXPECT_THROW(ops().add(three, three, four, stream()), Error);
  EXPECT_THROW(ops().add_bias(output({2, 3}, dtype()), four, stream()), Error);
  EXPECT_THROW(ops().swiglu_forward(three, three, four, stream()), Error);
}

INSTANTIATE_TEST_SUITE_P(Backends, ElementwiseTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
