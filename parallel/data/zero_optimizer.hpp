// AdamW with its state cut over the data axis (ZeRO-1).
// Law: a rank keeps moments and master weights of its owned slices only, updates them from the summed gradient there,
// and hands the new weights to the others by an all-gather a bucket. The update is elementwise, so any number of ranks
// gives the same bits from the same gradient. Where weights are in the accumulation type the owned slice of the weights
// is the master; else (bf16) masters are kept beside it. Padding stays zero. A group of one copies nothing.
// Memory a rank: gradients whole; masters (bf16 only) and two moments of 1/n of the parameters.
#pragma once

#include <memory>
#include <vector>

#include "parallel/data/owned_slices.hpp"
#include "src/backend/backend.hpp"
#include "src/backend/named_shard.hpp"
#include "src/optim/optimizer_options.hpp"

namespace athanor {

class ZeroOptimizer {
 public:
  /// Moments are zero, masters unset until start() or a load. `ops` and `store` must outlive this.
  ZeroOptimizer(Backend& ops, ParameterStore& store, std::vector<OwnedSlice> slices, const AdamWOptions& options,
                Stream& stream);

  /// Begins anew from the present weights: masters are theirs, moments zero.
  void start(Stream& stream);
  /// One update from the owned slices of the gradient times grad_scale. Collective. The weights are whole in `compute`.
  /// @param update  from 1: number of this update, for the bias correction.
  void step(double lr, std::int64_t update, double grad_scale, Stream& compute, Stream& comm);
  /// Makes the weights whole from the owned slices: after shards() were read. Collective.
  void gather_weights(Stream& compute, Stream& comm);

  /// The owned part of "model/NAME" (compute type), "optimizer/master/NAME" (where separate), "optimizer/m/NAME" and
  /// "optimizer/v/NAME", as boxes of the logical tensors. Every rank reads and writes only these.
  std::vector<NamedShard> shards() const;

  /// Bytes of moments and separate masters here.
  std::size_t state_bytes() const;

 private:
  /// A range of one slice with one weight decay; positions in the flat tensors and in the owned ones.
  struct Segment {
    std::int64_t begin, end, owned_begin;
    bool decay;
  };
  struct Slice {
    OwnedSlice where;
    std::int64_t owned_begin;  ///< of the group's owned tensors
    std::vector<Segment> segments;
    std::unique_ptr<Event> updated;
  };
  /// Owned slices of one group laid end to end.
  struct Owned {
    Tensor master;  ///< undefined where the weight is its own master
    Tensor m, v;
  };
  void gather(Slice& slice, Stream& compute, Stream& comm);
  Tensor weight_rows(const Slice& slice, std::int64_t begin, std::int64_t end) const;

  Backend& ops_;
  ParameterStore& store_;
  AdamWOptions options_;
  std::vector<Slice> slices_;
  std::vector<Owned> owned_;  ///< one a group
  std::unique_ptr<Event> gathered_;
};

/// All of the weights as shards "model/NAME" that nobody writes (one a parameter; one a slot where experts are placed
/// by load): for reading a checkpoint without an optimizer.
std::vector<NamedShard> weight_shards(const ParameterStore& store);
/// State tensors ("model/NAME"); `is_writer` on the one rank that writes them.
std::vector<NamedShard> state_shards(const std::vector<StateTensor*>& states, bool is_writer);

}  // namespace athanor
