// The policy objectives, whose formulas are tested through layers on the CPU (tests/src/loss): every device gives what
// the CPU gives.
#include "tests/support/device_fixture.hpp"

namespace athanor {
namespace {

class PolicyGradientTest : public DeviceTest {};

/// One back end and what it says of operands given as f64.
class Bench {
 public:
  Bench(Backend& ops, Stream& stream, DType dtype) : ops_(ops), stream_(stream), dtype_(dtype) {}

  Tensor numbers(const std::vector<double>& values, const Shape& shape) {
    Tensor tensor = ops_.empty(shape, dtype_);
    ops_.copy(tensor, upload_vector<double>(ops_, values, shape, stream_), stream_);
    return tensor;
  }
  std::vector<double> read(const Tensor& tensor) {
    Tensor wide = ops_.empty(tensor.shape(), DType::f64);
    ops_.copy(wide, tensor, stream_);
    std::vector<double> values(static_cast<std::size_t>(tensor.numel()));
    ops_.download(std::as_writable_bytes(std::span(values)), wide, stream_);
    stream_.synchronize();
    return values;
  }

  /// Weights, then sums (which begin at 1).
  std::vector<double> policy(const PolicyGradientArgs& args, bool with_reference) {
    constexpr std::int64_t kTokens = 611;
    std::vector<std::int32_t> ids;
    std::vector<double> counts = random_values(kTokens, 5, 0.1, 1.0);
    for (std::int32_t t = 0; t < kTokens; ++t) {
      ids.push_back(t / 37);
      if (t % 5 == 2) counts[static_cast<std::size_t>(t)] = 0.0;
    }
    const auto rows = [&](std::uint64_t stream, double low, double high) {
      return numbers(random_values(kTokens, stream, low, high), {kTokens});
    };
    Tensor weights_T = rows(9, 0.0, 1.0);
    const Tensor sums_8 = upload_vector<double>(ops_, std::vector<double>(kNumPolicySums, 1.0), {8}, stream_);
    ops_.policy_gradient(weights_T, sums_8, rows(1, 0.5, 3.0), rows(2, -3.0, -0.5),
                         with_reference ? rows(3, -3.0, -0.5) : Tensor{}, rows(4, -1.0, 1.0),
                         numbers(counts, {kTokens}), upload_vector<std::int32_t>(ops_, ids, {kTokens}, stream_), args,
                         stream_);
    std::vector<double> all = read(weights_T), sums = read(sums_8);
    all.insert(all.end(), sums.begin(), sums.end());
    return all;
  }

 private:
  Backend& ops_;
  Stream& stream_;
  DType dtype_;
};

// Promise: every objective, with and without a reference, gives the CPU's weights and sums.
TEST_P(PolicyGradientTest, AgreesWithTheCpu) {
  const auto cpu = make_backend("cpu");
  const auto cpu_stream = cpu->make_stream();
  for (const auto objective : {PolicyObjective::clipped, PolicyObjective::gspo, PolicyObjective::cispo})
    for (const bool with_reference : {false, true}) {
      PolicyGradientArgs args;
      args.objective = objective;
      args.clip_high = objective == PolicyObjective::cispo ? 2.0 : 0.28;
      args.ratio_bound = 3.0;
      args.kl_beta = with_reference ? 0.1 : 0.0;
      // Sums of 600 f64 numbers in another order; weights are rounded once to their type.
      EXPECT_TRUE(near(Bench(ops(), stream(), dtype()).policy(args, with_reference),
                       Bench(*cpu, *cpu_stream, dtype()).policy(args, with_reference),
                       dtype() == DType::f64 ? Bound{1e-12, 1e-12} : bound(1)));
    }
}

INSTANTIATE_TEST_SUITE_P(Backends, PolicyGradientTest, testing::ValuesIn(device_cases()), device_case_name);

}  // namespace
}  // namespace athanor
