// What a checkpoint reads and writes: one rectangle of a logical tensor and the memory that holds it here.
#pragma once

#include "src/backend/tensor.hpp"
#include "src/base/shard_spec.hpp"

namespace athanor {

struct NamedShard {
  ShardSpec spec;
  Tensor local;           ///< spec.extent elements of spec.dtype (any shape of that count)
  bool is_writer = true;  ///< of the ranks that hold the same rectangle exactly one writes; all read
};

}  // namespace athanor
