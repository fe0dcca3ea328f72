#include "jobs/scalar_weights.hpp"

#include "io/checkpoint/load_checkpoint.hpp"
#include "parallel/agreement.hpp"

namespace athanor {

bool load_scalar_weights(const std::filesystem::path& checkpoint, HostGroup& ranks, std::span<const NamedShard> shards,
                         Backend& ops, Stream& stream) {
  bool has_head = false;
  attempt_together(ranks, [&] {
    has_head = CheckpointReader(checkpoint).tensors().contains("model/value_head.weight");
  }).raise();
  LoadOptions options{.convert_floats = true};
  if (!has_head) {
    options.may_lack = {"model/value_head."};
    options.may_hold = {"model/head.", "model/mtp."};
  }
  load_checkpoint(checkpoint, ranks, shards, ops, stream, options);
  return has_head;
}

}  // namespace athanor
