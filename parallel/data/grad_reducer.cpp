#include "parallel/data/grad_reducer.hpp"

#include "src/base/error.hpp"

namespace athanor {

GradReducer::GradReducer(Backend& ops, ParameterStore& store, std::vector<OwnedSlice> slices)
    : store_(store), all_reduced_(ops.make_event()) {
  for (const OwnedSlice& slice : slices) {
    Bucket bucket;
    bucket.slice = slice;
    bucket.ready = ops.make_event();
    for (const auto& member : store.groups()[slice.group].members)
      if (member.begin >= slice.bucket.begin && member.begin < slice.bucket.end) {
        bucket_of_[member.parameter] = buckets_.size();
        ++bucket.num_members;
      }
    buckets_.push_back(std::move(bucket));
  }
}

void GradReducer::mark_ready(const Parameter& parameter, Stream& compute, Stream& comm) {
  const auto found = bucket_of_.find(&parameter);
  if (found == bucket_of_.end()) throw Error("GradReducer: " + parameter.name() + " is in no bucket of this store");
  Bucket& bucket = buckets_[found->second];
  if (++bucket.num_ready > bucket.num_members)
    throw Error("GradReducer: " + parameter.name() + " was made ready twice in one step");
  // Both ends of a pipeline are done at different times, and the one may wait for the other's messages until then.
  const bool at_both_ends = store_.groups()[bucket.slice.group].group == GradientGroup::shared;
  if (bucket.num_ready == bucket.num_members && !at_both_ends) start(bucket, compute, comm);
}

void GradReducer::start(Bucket& bucket, Stream& compute, Stream& comm) {
  bucket.started = true;
  if (bucket.slice.ranks->size() == 1) return;
  compute.record(*bucket.ready);
  comm.wait(*bucket.ready);
  const Tensor& grad = store_.groups()[bucket.slice.group].grad;
  bucket.slice.ranks->reduce_scatter(grad.rows(bucket.slice.begin, bucket.slice.end),
                                     grad.rows(bucket.slice.bucket.begin, bucket.slice.bucket.end), ReduceOp::sum,
                                     comm);
}

void GradReducer::finish(Stream& compute, Stream& comm) {
  for (Bucket& bucket : buckets_) {
    if (!bucket.started) start(bucket, compute, comm);
    bucket.started = false;
    bucket.num_ready = 0;
  }
  comm.record(*all_reduced_);
  compute.wait(*all_reduced_);
}

void add_squared_norm(Backend& ops, const ParameterStore& store, const std::vector<OwnedSlice>& slices, Tensor sum_1,
                      Stream& stream) {
  for (const OwnedSlice& slice : slices)
    ops.sum_squares(sum_1, store.groups()[slice.group].grad.rows(slice.begin, slice.end), stream);
}

}  // namespace athanor
