#include "src/nn/parameter.hpp"

#include <algorithm>
#include <set>

#include "src/base/error.hpp"

namespace athanor {
namespace {

constexpr std::int64_t kAlignElements = 64;  // 128 bytes of bf16: every parameter starts on a cache line

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Places the members of one group and cuts it into buckets. @returns the length of the flat tensors.
std::int64_t place(ParameterGroup& group, const ParameterStore::Options& options) {
  std::int64_t end = 0, bucket_begin = 0;
  const auto close_bucket = [&] {
    end = bucket_begin + round_up(end - bucket_begin, options.pad_elements);
    if (end > bucket_begin) group.buckets.push_back({bucket_begin, end});
    bucket_begin = end;
  };
  for (auto& member : group.members) {
    member.begin = round_up(end, kAlignElements);
    member.end = member.begin + member.parameter->spec.extent.numel();
    end = member.end;
    if (end - bucket_begin >= options.bucket_elements) close_bucket();
  }
  close_bucket();
  return end;
}

Tensor flat_view(const Tensor& flat, const ParameterGroup::Member& member) {
  return flat.rows(member.begin, member.end).reshaped(member.parameter->spec.extent);
}

}  // namespace

Parameter matrix_parameter(std::string name, DType dtype, const Shape& shape, double init_std) {
  Parameter parameter;
  parameter.spec = whole(std::move(name), dtype, shape);
  parameter.init_std = init_std;
  return parameter;
}

void hold_rows(Parameter& parameter, const std::vector<std::int64_t>& rows) {
  ShardSpec& spec = parameter.spec;
  bool one_range = true;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < 0 || rows[i] >= spec.global[0])
      throw Error("Parameter " + spec.name + ": wanted rows of " + spec.global.to_string() + ", found row " +
                  std::to_string(rows[i]));
    one_range = one_range && rows[i] == rows[0] + static_cast<std::int64_t>(i);
  }
  if (rows.empty()) throw Error("Parameter " + spec.name + ": wanted at least one row to hold");
  spec.extent[0] = static_cast<std::int64_t>(rows.size());
  spec.offset[0] = one_range ? rows[0] : 0;
  if (!one_range) parameter.placed_rows = rows;
}

std::vector<NamedShard> Parameter::shards() const {
  if (placed_rows.empty()) return {{spec, weight, false}};
  std::vector<NamedShard> list;
  for (std::size_t i = 0; i < placed_rows.size(); ++i) {
    ShardSpec row = spec;
    row.offset[0] = placed_rows[i];
    row.extent[0] = 1;
    const auto at = static_cast<std::int64_t>(i);
    list.push_back({row, weight.rows(at, at + 1), false});
  }
  return list;
}

Parameter norm_parameter(std::string name, DType dtype, std::int64_t size) {
  Parameter parameter;
  parameter.spec = whole(std::move(name), dtype, {size});
  parameter.init = Parameter::Init::ones;
  parameter.decay = false;
  return parameter;
}

Parameter bias_parameter(std::string name, DType dtype, std::int64_t size) {
  Parameter parameter;
  parameter.spec = whole(std::move(name), dtype, {size});
  parameter.init = Parameter::Init::zeros;
  parameter.decay = false;
  return parameter;
}

ParameterStore::ParameterStore(Backend& ops, std::vector<Parameter*> parameters, const Options& options, Stream& stream)
    : ops_(ops), parameters_(std::move(parameters)) {
  if (options.pad_elements <= 0 || options.pad_elements % kAlignElements != 0)
    throw Error("ParameterStore: pad_elements = " + std::to_string(options.pad_elements) +
                ", wanted a positive multiple of " + std::to_string(kAlignElements));
  std::set<std::string> names;
  for (const Parameter* parameter : parameters_) {
    if (!names.insert(parameter->name()).second)
      throw Error("ParameterStore: two parameters are named " + parameter->name());
    if (options.with_gradients && !parameter->placed_rows.empty())
      throw Error(
          "ParameterStore: " + parameter->name() +
          " is placed row by row, which is for inference: wanted no gradients; train with experts in one range");
  }

  for (auto it = parameters_.rbegin(); it != parameters_.rend(); ++it) {
    Parameter& parameter = **it;
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const ParameterGroup& g) {
      return g.dtype == parameter.spec.dtype && g.group == parameter.group;
    });
    if (group == groups_.end()) {
      group = groups_.insert(groups_.end(), ParameterGroup{});
      group->dtype = parameter.spec.dtype;
      group->group = parameter.group;
    }
    group->members.push_back({&parameter, 0, 0});
  }

  for (ParameterGroup& group : groups_) {
    const std::int64_t length = place(group, options);
    group.weight = ops_.empty({length}, group.dtype);
    ops_.fill(group.weight, 0.0, stream);
    if (options.with_gradients) {
      group.grad = ops_.empty({length}, accumulation_dtype(group.dtype));
      ops_.fill(group.grad, 0.0, stream);
    }
    for (auto& member : group.members) {
      member.parameter->weight = flat_view(group.weight, member);
      if (group.grad.defined()) member.parameter->grad = flat_view(group.grad, member);
    }
  }
}

void ParameterStore::initialize(std::uint64_t seed, Stream& stream) {
  for (Parameter* parameter : parameters_) {
    switch (parameter->init) {
      case Parameter::Init::normal:
        for (const NamedShard& shard : parameter->shards())
          ops_.fill_normal(shard.local, parameter->init_std, seed, shard.spec, stream);
        break;
      case Parameter::Init::ones:
        ops_.fill(parameter->weight, 1.0, stream);
        break;
      case Parameter::Init::zeros:
        ops_.fill(parameter->weight, 0.0, stream);
        break;
    }
  }
}

void ParameterStore::zero_gradients(Stream& stream) {
  for (ParameterGroup& group : groups_)
    if (group.grad.defined()) ops_.fill(group.grad, 0.0, stream);
}

std::int64_t ParameterStore::numel() const {
  std::int64_t count = 0;
  for (const Parameter* parameter : parameters_) count += parameter->spec.extent.numel();
  return count;
}

}  // namespace athanor
