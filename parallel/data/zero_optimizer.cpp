#include "parallel/data/zero_optimizer.hpp"

#include <algorithm>

namespace athanor {
namespace {

/// Calls f(begin, end, decay) for the runs of equal weight decay in [begin, end) of the group's flat tensors. The gap
/// after a member belongs to it: it is zero and stays so.
template <class F>
void for_each_decay_run(const ParameterGroup& group, std::int64_t begin, std::int64_t end, const F& f) {
  std::int64_t run_begin = begin;
  bool run_decay = false, open = false;
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const std::int64_t from = std::max(group.members[i].begin, begin);
    const std::int64_t to =
        std::min(i + 1 < group.members.size() ? group.members[i + 1].begin : group.weight.numel(), end);
    if (from >= to) continue;
    const bool decay = group.members[i].parameter->decay;
    if (open && decay != run_decay) {
      f(run_begin, from, run_decay);
      run_begin = from;
    }
    run_decay = decay;
    open = true;
  }
  if (open) f(run_begin, end, run_decay);
}

}  // namespace

ZeroOptimizer::ZeroOptimizer(Backend& ops, ParameterStore& store, std::vector<OwnedSlice> slices,
                             const AdamWOptions& options, Stream& stream)
    : ops_(ops), store_(store), options_(options), gathered_(ops.make_event()) {
  options.validate();
  std::vector<std::int64_t> owned_elements(store.groups().size(), 0);
  for (const OwnedSlice& where : slices) {
    Slice slice{where, owned_elements[where.group], {}, ops.make_event()};
    for_each_decay_run(store.groups()[where.group], where.begin, where.end,
                       [&](std::int64_t begin, std::int64_t end, bool decay) {
                         slice.segments.push_back({begin, end, slice.owned_begin + begin - where.begin, decay});
                       });
    owned_elements[where.group] += where.size();
    slices_.push_back(std::move(slice));
  }
  for (std::size_t g = 0; g < store.groups().size(); ++g) {
    const DType dtype = store.groups()[g].dtype, acc = accumulation_dtype(dtype);
    const Shape shape{owned_elements[g]};
    const DType moments = options.bf16_moments ? DType::bf16 : acc;
    Owned owned{dtype == acc ? Tensor{} : ops.empty(shape, acc), ops.empty(shape, moments), ops.empty(shape, moments)};
    for (Tensor& tensor : {std::ref(owned.master), std::ref(owned.m), std::ref(owned.v)})
      if (tensor.defined()) ops.fill(tensor, 0.0, stream);
    owned_.push_back(std::move(owned));
  }
}

Tensor ZeroOptimizer::weight_rows(const Slice& slice, std::int64_t begin, std::int64_t end) const {
  return store_.groups()[slice.where.group].weight.rows(begin, end);
}

void ZeroOptimizer::start(Stream& stream) {
  for (const Slice& slice : slices_) {
    Owned& owned = owned_[slice.where.group];
    if (owned.master.defined())
      ops_.copy(owned.master.rows(slice.owned_begin, slice.owned_begin + slice.where.size()),
                weight_rows(slice, slice.where.begin, slice.where.end), stream);
  }
  for (Owned& owned : owned_) {
    ops_.fill(owned.m, 0.0, stream);
    ops_.fill(owned.v, 0.0, stream);
  }
}

void ZeroOptimizer::step(double lr, std::int64_t update, double grad_scale, Stream& compute, Stream& comm) {
  AdamWArgs args{lr, options_.beta1, options_.beta2, options_.eps, 0.0, update};
  for (Slice& slice : slices_) {
    const ParameterGroup& group = store_.groups()[slice.where.group];
    const Owned& owned = owned_[slice.where.group];
    for (const Segment& segment : slice.segments) {
      args.weight_decay = segment.decay ? options_.weight_decay : 0.0;
      const std::int64_t owned_end = segment.owned_begin + segment.end - segment.begin;
      const Tensor weight = group.weight.rows(segment.begin, segment.end);
      const bool separate = owned.master.defined();
      ops_.adamw(separate ? weight : Tensor{}, separate ? owned.master.rows(segment.owned_begin, owned_end) : weight,
                 owned.m.rows(segment.owned_begin, owned_end), owned.v.rows(segment.owned_begin, owned_end),
                 group.grad.rows(segment.begin, segment.end), grad_scale, args, compute);
    }
    gather(slice, compute, comm);  // beside the update of the next bucket
  }
  comm.record(*gathered_);
  compute.wait(*gathered_);
}

void ZeroOptimizer::gather(Slice& slice, Stream& compute, Stream& comm) {
  if (slice.where.ranks->size() == 1) return;
  compute.record(*slice.updated);
  comm.wait(*slice.updated);
  slice.where.ranks->all_gather(weight_rows(slice, slice.where.bucket.begin, slice.where.bucket.end),
                                weight_rows(slice, slice.where.begin, slice.where.end), comm);
}

void ZeroOptimizer::gather_weights(Stream& compute, Stream& comm) {
  for (Slice& slice : slices_) gather(slice, compute, comm);
  comm.record(*gathered_);
  compute.wait(*gathered_);
}

std::vector<NamedShard> ZeroOptimizer::shards() const {
  std::vector<NamedShard> list;
  for (const Slice& slice : slices_) {
    const ParameterGroup& group = store_.groups()[slice.where.group];
    const Owned& owned = owned_[slice.where.group];
    for (const auto& member : group.members) {
      const std::int64_t begin = std::max(member.begin, slice.where.begin);
      const std::int64_t end = std::min(member.end, slice.where.end);
      if (begin >= end) continue;
      const ShardSpec& whole = member.parameter->spec;
      std::int64_t at = begin;  // boxes come in the order of the elements, each a contiguous run of them
      for (const Box& box : boxes_of_flat_range(whole.extent, begin - member.begin, end - member.begin)) {
        ShardSpec spec = whole;
        spec.extent = box.extent;
        for (int d = 0; d < box.offset.ndim(); ++d) spec.offset[d] = whole.offset[d] + box.offset[d];
        const std::int64_t count = box.extent.numel();
        const auto add = [&](const char* prefix, const Tensor& flat, std::int64_t from) {
          spec.name = prefix + whole.name;
          spec.dtype = flat.dtype();
          list.push_back({spec, flat.rows(from, from + count), true});
        };
        const std::int64_t owned_at = slice.owned_begin + at - slice.where.begin;
        add("model/", group.weight, at);
        if (owned.master.defined()) add("optimizer/master/", owned.master, owned_at);
        add("optimizer/m/", owned.m, owned_at);
        add("optimizer/v/", owned.v, owned_at);
        at += count;
      }
    }
  }
  return list;
}

std::size_t ZeroOptimizer::state_bytes() const {
  std::size_t bytes = 0;
  for (const Owned& owned : owned_)
    bytes += owned.m.bytes() + owned.v.bytes() + (owned.master.defined() ? owned.master.bytes() : 0);
  return bytes;
}

std::vector<NamedShard> weight_shards(const ParameterStore& store) {
  std::vector<NamedShard> list;
  for (const Parameter* parameter : store.parameters())
    for (NamedShard& shard : parameter->shards()) {
      shard.spec.name = "model/" + shard.spec.name;
      list.push_back(std::move(shard));
    }
  return list;
}

std::vector<NamedShard> state_shards(const std::vector<StateTensor*>& states, bool is_writer) {
  std::vector<NamedShard> list;
  for (const StateTensor* state : states) {
    ShardSpec spec = state->spec;
    spec.name = "model/" + spec.name;
    list.push_back({spec, state->tensor, is_writer});
  }
  return list;
}

}  // namespace athanor
