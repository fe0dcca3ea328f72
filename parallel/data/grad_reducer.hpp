// Sums gradients over the data axis, bucket by bucket.
// Law: after finish() the owned slice of every bucket holds the sum over ranks (losses are weighted by the global token
// count, so gradients add up without division); the rest of the bucket still holds this rank's own gradient. A bucket
// runs on the communication stream as soon as all its parameters are ready, beside the computation of the others; all
// ranks must make parameters ready in the same order. A group of one moves nothing.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "parallel/data/owned_slices.hpp"
#include "src/backend/backend.hpp"

namespace athanor {

class GradReducer {
 public:
  /// @param slices  of `store`, which must outlive this.
  GradReducer(Backend& ops, ParameterStore& store, std::vector<OwnedSlice> slices);

  /// The gradient of `parameter` is complete in `compute` for this step. Starts its bucket when it is the last one.
  void mark_ready(const Parameter& parameter, Stream& compute, Stream& comm);
  /// Starts the buckets not started yet; work enqueued on `compute` from here on sees the sums. Collective.
  void finish(Stream& compute, Stream& comm);

 private:
  struct Bucket {
    OwnedSlice slice;
    std::size_t num_members = 0, num_ready = 0;
    bool started = false;
    std::unique_ptr<Event> ready;
  };
  void start(Bucket& bucket, Stream& compute, Stream& comm);

  ParameterStore& store_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const Parameter*, std::size_t> bucket_of_;
  std::unique_ptr<Event> all_reduced_;
};

/// sum_1 (f64) += the squares of the owned slices of the gradient. Added up over ranks this is the squared global norm.
void add_squared_norm(Backend& ops, const ParameterStore& store, const std::vector<OwnedSlice>& slices, Tensor sum_1,
                      Stream& stream);

}  // namespace athanor
