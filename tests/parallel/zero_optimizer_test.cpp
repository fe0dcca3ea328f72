// ZeRO against plain AdamW on one rank: the same gradient gives the same bits on any number of ranks.
#include "parallel/data/zero_optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "parallel/data/grad_reducer.hpp"
#include "parallel/process_mesh.hpp"
#include "src/backend/solo_communicator.hpp"
#include "src/base/error.hpp"
#include "tests/parallel/tensor_values.hpp"

namespace athanor {
namespace {

using testing::tensor_of;
using testing::values_of;

// Odd sizes, both decays in alternation, an expert stack, and two types when the model is bf16.
struct TinyModel {
  explicit TinyModel(DType dtype) {
    const DType acc = accumulation_dtype(dtype);
    list = {
        matrix_parameter("embedding", dtype, {13, 7}, 0.5),    norm_parameter("norm.0", dtype, 7),
        matrix_parameter("layers.0.w", dtype, {9, 33}, 0.5),   norm_parameter("layers.0.norm", dtype, 9),
        matrix_parameter("layers.0.router", acc, {5, 7}, 0.5), matrix_parameter("experts.w", dtype, {3, 5, 11}, 0.5),
        matrix_parameter("head", dtype, {41, 29}, 0.5),        norm_parameter("norm.1", dtype, 200)};
    list[5].group = GradientGroup::expert;
    for (Parameter& parameter : list) pointers.push_back(&parameter);
  }
  std::vector<Parameter> list;
  std::vector<Parameter*> pointers;
};

/// A model, its store and its optimizer on a group of ranks.
struct Trainee {
  Trainee(Backend& backend, DType dtype, Communicator& ranks, const AdamWOptions& options, Stream& stream)
      : ops(backend),
        model(dtype),
        store(ops, model.pointers, {.pad_elements = ReductionRanks(ranks).bucket_pad(), .bucket_elements = 300},
              stream),
        slices(owned_slices(store, ReductionRanks(ranks))),
        reducer(ops, store, slices),
        optimizer(ops, store, slices, options, stream) {
    store.initialize(3, stream);
    optimizer.start(stream);
  }
  Backend& ops;
  TinyModel model;
  ParameterStore store;
  std::vector<OwnedSlice> slices;
  GradReducer reducer;
  ZeroOptimizer optimizer;
};

class ZeroOptimizerTest : public ::testing::TestWithParam<std::tuple<const char*, DType, bool>> {
 protected:
  static double gradient(int rank, std::uint64_t step, const std::string& name, std::int64_t i) {
    const Philox random(step, RandomPurpose::test, stable_hash(name) + static_cast<std::uint64_t>(rank));
    return random.uniform(static_cast<std::uint64_t>(i)) - 0.5;
  }
  void set_own_gradients(Trainee& trainee, int rank, std::uint64_t step) {
    for (Parameter& parameter : trainee.model.list) {
      std::vector<double> values;
      for (std::int64_t i = 0; i < parameter.grad.numel(); ++i)
        values.push_back(gradient(rank, step, parameter.name(), i));
      ops->copy(parameter.grad, tensor_of(*ops, values, parameter.grad.shape(), parameter.grad.dtype(), *stream),
                *stream);
    }
  }
  /// The sum of all ranks' gradients in rank order and in the gradient's type.
  void set_summed_gradients(Trainee& trainee, std::uint64_t step) {
    for (Parameter& parameter : trainee.model.list) {
      std::vector<double> values;
      const bool f32 = parameter.grad.dtype() == DType::f32;
      for (std::int64_t i = 0; i < parameter.grad.numel(); ++i) {
        const auto rounded = [&](double x) { return f32 ? static_cast<double>(static_cast<float>(x)) : x; };
        double total = rounded(gradient(0, step, parameter.name(), i));
        for (int rank = 1; rank < world.size(); ++rank)
          total = rounded(total + rounded(gradient(rank, step, parameter.name(), i)));
        values.push_back(total);
      }
      ops->copy(parameter.grad, tensor_of(*ops, values, parameter.grad.shape(), parameter.grad.dtype(), *stream),
                *stream);
    }
  }
  double squared_norm(Trainee& trainee) {
    Tensor sum_1 = ops->empty({1}, DType::f64);
    ops->fill(sum_1, 0.0, *stream);
    add_squared_norm(*ops, trainee.store, trainee.slices, sum_1, *stream);
    return values_of(*ops, sum_1, *stream)[0];
  }
  std::map<std::string, std::vector<double>> weights(Trainee& trainee) {
    std::map<std::string, std::vector<double>> all;
    for (Parameter& parameter : trainee.model.list) all[parameter.name()] = values_of(*ops, parameter.weight, *stream);
    return all;
  }

  HostGroup world = HostGroup::world();
  std::unique_ptr<Backend> ops = make_backend(std::get<0>(GetParam()));
  std::unique_ptr<Stream> stream = ops->make_stream(), comm = ops->make_stream();
  DType dtype = std::get<1>(GetParam());
  AdamWOptions options{.bf16_moments = std::get<2>(GetParam())};
  ProcessMesh mesh{world, MeshShape{}, *ops, true};
  SoloCommunicator solo{*ops};
};

// Five updates on n ranks leave the very weights and moments that one rank with the summed gradient has; the norm is
// the same to rounding.
TEST_P(ZeroOptimizerTest, EqualsPlainAdamW) {
  Trainee shared(*ops, dtype, mesh.along(Axis::dp), options, *stream);
  Trainee alone(*ops, dtype, solo, options, *stream);
  EXPECT_EQ(weights(shared), weights(alone));
  for (std::uint64_t step = 1; step <= 5; ++step) {
    set_own_gradients(shared, world.rank(), step);
    set_summed_gradients(alone, step);
    shared.reducer.finish(*stream, *comm);
    alone.reducer.finish(*stream, *comm);
    const double norm = std::sqrt(mesh.host(Axis::dp).sum(squared_norm(shared))),
                 expected = std::sqrt(squared_norm(alone));
    EXPECT_NEAR(norm / expected, 1.0, 1e-15 * 4);
    for (Trainee* trainee : {&shared, &alone})
      trainee->optimizer.step(0.01, static_cast<std::int64_t>(step), 0.5, *stream, *comm);
  }
  EXPECT_EQ(weights(shared), weights(alone));

  // Every element of a state shard is that of the lone optimizer at the same place of the logical tensor.
  std::map<std::string, std::vector<double>> whole;
  std::map<std::string, Shape> shapes;
  for (const NamedShard& shard : alone.optimizer.shards()) {
    auto& values = whole[shard.spec.name];
    shapes[shard.spec.name] = shard.spec.global;
    for (const double value : values_of(*ops, shard.local, *stream)) values.push_back(value);
  }
  std::map<std::string, std::int64_t> elements;
  for (const NamedShard& shard : shared.optimizer.shards()) {
    const auto local = values_of(*ops, shard.local, *stream);
    ASSERT_EQ(static_cast<std::int64_t>(local.size()), shard.spec.extent.numel());
    EXPECT_TRUE(shard.is_writer);
    elements[shard.spec.name] += shard.spec.extent.numel();
    std::vector<double> expected(local.size());
    const auto bytes = [](std::vector<double>& v) { return reinterpret_cast<std::byte*>(v.data()); };
    const ShardSpec all = athanor::whole(shard.spec.name, shard.spec.dtype, shard.spec.global);
    copy_box(shard.spec.box(), all.box(), bytes(whole.at(shard.spec.name)), shard.spec.box(), bytes(expected), 8);
    EXPECT_EQ(local, expected) << shard.spec.name << " at " << shard.spec.offset.to_string();
  }
  // Together the ranks cover every tensor exactly once.
  for (const auto& [name, values] : whole)
    EXPECT_EQ(world.sum(elements[name]), static_cast<std::int64_t>(values.size())) << name;
}

// Without a gradient, decay alone moves weights: matrices shrink by 1 - lr * weight_decay, norms stay.
TEST_P(ZeroOptimizerTest, DecaysMatricesOnly) {
  options.weight_decay = 0.5;
  Trainee shared(*ops, dtype, mesh.along(Axis::dp), options, *stream);
  auto expected = weights(shared);
  for (Parameter& parameter : shared.model.list)
    if (parameter.decay)
      for (double& value : expected.at(parameter.name())) value *= 1.0 - 0.25 * 0.5;
  shared.reducer.finish(*stream, *comm);
  shared.optimizer.step(0.25, 1, 1.0, *stream, *comm);
  const auto got = weights(shared);
  for (const Parameter& parameter : shared.model.list) {
    const double bound = parameter.spec.dtype == DType::bf16 ? 0x1p-8 : parameter.decay ? 1e-7 : 0.0;
    double worst = 0.0;
    for (std::size_t i = 0; i < got.at(parameter.name()).size(); ++i)
      worst = std::max(worst, std::abs(got.at(parameter.name())[i] / expected.at(parameter.name())[i] - 1.0));
    EXPECT_LE(worst, bound) << parameter.name();
  }
}

// Padding is zero after updates: in weights, and hence in everything that is added up over flat tensors.
TEST_P(ZeroOptimizerTest, LeavesPaddingZero) {
  Trainee shared(*ops, dtype, mesh.along(Axis::dp), options, *stream);
  for (std::int64_t step = 1; step <= 2; ++step) {
    shared.store.zero_gradients(*stream);
    set_own_gradients(shared, world.rank(), static_cast<std::uint64_t>(step));
    shared.reducer.finish(*stream, *comm);
    shared.optimizer.step(0.1, step, 1.0, *stream, *comm);
  }
  for (const ParameterGroup& group : shared.store.groups()) {
    const auto flat = values_of(*ops, group.weight, *stream);
    std::vector<bool> used(flat.size(), false);
    for (const auto& member : group.members) std::fill(used.begin() + member.begin, used.begin() + member.end, true);
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < flat.size(); ++i) wrong += !used[i] && flat[i] != 0.0 ? 1 : 0;
    EXPECT_EQ(wrong, 0);
  }
}

// Buckets that start one by one, as their parameters get ready, give the sums that finish() alone gives.
TEST_P(ZeroOptimizerTest, BucketsMayStartEarly) {
  Trainee early(*ops, dtype, mesh.along(Axis::dp), options, *stream),
      late(*ops, dtype, mesh.along(Axis::dp), options, *stream);
  for (std::uint64_t step = 1; step <= 2; ++step) {  // twice: the second step starts afresh
    for (Trainee* trainee : {&early, &late}) set_own_gradients(*trainee, world.rank(), step);
    for (std::size_t i = early.model.list.size(); i-- > 1;)
      early.reducer.mark_ready(early.model.list[i], *stream, *comm);
    early.reducer.finish(*stream, *comm);
    late.reducer.finish(*stream, *comm);
    for (std::size_t s = 0; s < early.slices.size(); ++s) {
      const auto owned = [&](Trainee& t) {
        return values_of(*ops, t.store.groups()[t.slices[s].group].grad.rows(t.slices[s].begin, t.slices[s].end),
                         *stream);
      };
      EXPECT_EQ(owned(early), owned(late));
    }
  }
  for (int time = 0; time < 2; ++time) {
    if (time == 1) {
      EXPECT_THROW(early.reducer.mark_ready(early.model.list[6], *stream, *comm), Error);
      continue;
    }
    early.reducer.mark_ready(early.model.list[6], *stream, *comm);
    early.reducer.mark_ready(early.model.list[7], *stream, *comm);
  }
  early.reducer.finish(*stream, *comm);
}

// Weights read slice by slice are whole after gather_weights; the state of n ranks is about 1/n of that of one.
TEST_P(ZeroOptimizerTest, GathersWhatWasLoaded) {
  Trainee shared(*ops, dtype, mesh.along(Axis::dp), options, *stream);
  const auto before = weights(shared);
  for (const ParameterGroup& group : shared.store.groups())
    for (const OwnedSlice& slice : shared.slices)
      if (&shared.store.groups()[slice.group] == &group) {
        if (slice.bucket.begin < slice.begin)
          ops->fill(group.weight.rows(slice.bucket.begin, slice.begin), 9.0, *stream);
        if (slice.end < slice.bucket.end) ops->fill(group.weight.rows(slice.end, slice.bucket.end), 9.0, *stream);
      }
  shared.optimizer.gather_weights(*stream, *comm);
  EXPECT_EQ(weights(shared), before);

  Trainee alone(*ops, dtype, solo, options, *stream);
  const auto share = static_cast<double>(shared.optimizer.state_bytes()) * world.size();
  EXPECT_LE(share, 2.0 * static_cast<double>(alone.optimizer.state_bytes()));  // tiny buckets: padding shows
}

/// Pretends to be one rank of many; nobody talks.
class ManyRanks final : public Communicator {
 public:
  explicit ManyRanks(int size) : size_(size) {}
  int rank() const override { return size_ - 1; }
  int size() const override { return size_; }
  void all_reduce(Tensor, ReduceOp, Stream&) override {}
  void reduce_scatter(Tensor, const Tensor&, ReduceOp, Stream&) override {}
  void all_gather(Tensor, const Tensor&, Stream&) override {}
  void all_to_all_v(Tensor, std::span<const std::int64_t>, const Tensor&, std::span<const std::int64_t>,
                    Stream&) override {}
  void broadcast(Tensor, int, Stream&) override {}
  void exchange(std::span<const P2p>, Stream&) override {}
  Ticket start_exchange(std::span<const P2p>, Stream&) override { return 0; }
  void finish_receive(Ticket, Stream&) override {}
  void finish_sends(Stream&) override {}

 private:
  int size_;
};

// Slices of any number of ranks are equal and lie in their bucket; a store padded for fewer ranks is refused with the
// padding that would do.
TEST(OwnedSlices, AreEqualOrRefused) {
  auto ops = make_backend("cpu");
  auto stream = ops->make_stream();
  ManyRanks three(3), five(5);
  TinyModel model(DType::f32);
  ParameterStore store(*ops, model.pointers, {.pad_elements = ReductionRanks(three).bucket_pad(), .bucket_elements = 1},
                       *stream);
  for (const OwnedSlice& slice : owned_slices(store, ReductionRanks(three))) {
    EXPECT_EQ(slice.size() * 3, slice.bucket.end - slice.bucket.begin);
    EXPECT_EQ(slice.end, slice.bucket.end);  // the last rank's
  }
  try {
    owned_slices(store, ReductionRanks(five));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("pad_elements = 320"), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ZeroOptimizerTest,
                         ::testing::Values(std::tuple{"cpu", DType::f64, false}, std::tuple{"cpu", DType::f32, false},
                                           std::tuple{"cpu", DType::bf16, false}, std::tuple{"cpu", DType::bf16, true},
                                           std::tuple{"cpu-guarded", DType::bf16, true}),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) == std::string("cpu") ? "" : "guarded_") +
                                  std::string(to_string(std::get<1>(info.param))) +
                                  (std::get<2>(info.param) ? "_bf16_moments" : "");
                         });

}  // namespace
}  // namespace athanor
