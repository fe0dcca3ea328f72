// A bench on which a layer is tried: a CPU back end, a toy batch for positions and masks, parameters with random
// contents. The loss of a layer's output is its product with fixed random numbers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "src/nn/exec_context.hpp"
#include "tests/support/gradcheck.hpp"
#include "tests/support/toy_batch.hpp"

namespace athanor::testing {

/// Random contents: norms around 1, all else around 0.
inline void randomize(Backend& ops, const std::vector<Parameter*>& parameters, Stream& stream, double scale = 0.4) {
  std::uint64_t number = 1000;
  for (const Parameter* parameter : parameters) {
    std::vector<double> values = random_values(parameter->weight.numel(), number++, scale);
    if (parameter->init == Parameter::Init::ones)
      for (double& value : values) value = 1.0 + 0.5 * value;
    upload_doubles(ops, parameter->weight, values, stream);
  }
}

class LayerBench {
 public:
  explicit LayerBench(const ToyBatchOptions& options = {})
      : ops_(make_backend("cpu")),
        stream_(ops_->make_stream()),
        batch_(make_toy_batch(*ops_, *stream_, options)),
        training_{*ops_, *stream_, *stream_, batch_, DType::f64, true},
        evaluation_{*ops_, *stream_, *stream_, batch_, DType::f64, false} {}

  Backend& ops() { return *ops_; }
  Stream& stream() { return *stream_; }
  MicroBatch& batch() { return batch_; }
  ExecContext& training() { return training_; }
  ExecContext& evaluation() { return evaluation_; }
  std::int64_t tokens() const { return batch_.tokens_T.dim(0); }

  Tensor random(const Shape& shape, std::uint64_t number, double scale = 1.0) {
    return tensor_of(*ops_, random_values(shape.numel(), number, scale), shape, DType::f64, *stream_);
  }
  std::vector<double> values(const Tensor& x) { return download_doubles(*ops_, x, *stream_); }
  double dot(const Tensor& a, const Tensor& b) {
    const std::vector<double> x = values(a), y = values(b);
    double sum = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
    return sum;
  }

  /// Memory and random contents for a layer's parameters.
  void give_parameters(const std::vector<Parameter*>& parameters) {
    stores_.push_back(std::make_unique<ParameterStore>(*ops_, parameters, ParameterStore::Options{}, *stream_));
    randomize(*ops_, parameters, *stream_);
  }
  std::vector<CheckedTensor> checked(const std::vector<Parameter*>& parameters) {
    std::vector<CheckedTensor> list;
    for (const Parameter* p : parameters) list.push_back({p->name(), p->weight, values(p->grad)});
    return list;
  }

  /// Differences against the gradients of the input and of every parameter. The loss is evaluated without keeping
  /// anything for backward, so that path is tried too.
  template <Layer L>
  ::testing::AssertionResult check_layer(L& layer, const Shape& input) {
    give_parameters(layer.parameters());
    const Tensor x = random(input, 1);
    typename L::Saved saved;
    const Tensor y = layer.forward(training_, x, saved);
    const Tensor dy = random(y.shape(), 2);
    const Tensor dx = layer.backward_input(training_, dy, saved);
    layer.backward_weight(training_, saved);
    std::vector<CheckedTensor> list = checked(layer.parameters());
    list.push_back({"input", x, values(dx)});
    const auto loss = [&] {
      typename L::Saved unused;
      return dot(layer.forward(evaluation_, x, unused), dy);
    };
    return gradcheck(*ops_, *stream_, loss, list);
  }

 private:
  std::unique_ptr<Backend> ops_;
  std::unique_ptr<Stream> stream_;
  MicroBatch batch_;
  ExecContext training_, evaluation_;
  std::vector<std::unique_ptr<ParameterStore>> stores_;
};

}  // namespace athanor::testing
