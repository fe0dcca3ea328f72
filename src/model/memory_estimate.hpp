// Bytes that training takes on one rank whatever its pipeline does, added up from what the layout says it holds;
// nothing is allocated. Activations: activation_memory.hpp, and parallel/plan for a schedule's.
// Law: what an arena hands out (blocks, rounded up), not what the system reserves; no host memory (data, checkpoint
// snapshot), no message buffers of MPI.
#pragma once

#include <cstdint>
#include <span>

#include "src/base/dtype.hpp"
#include "src/model/model_part.hpp"
#include "src/optim/optimizer_options.hpp"

namespace athanor {

/// What a step is cut into.
struct StepCut {
  std::int64_t tokens = 0;         ///< of a micro-batch, over all ranks of cp and tp
  std::int64_t micro_batches = 1;  ///< of a step, in each data-parallel rank; their tokens and targets lie ready
};

struct MemoryEstimate {
  std::int64_t parameters = 0;         ///< on this rank, no bytes; copies of the embedding among them
  std::int64_t copied_parameters = 0;  ///< those copies
  std::int64_t weights = 0, gradients = 0;
  std::int64_t optimizer = 0;  ///< moments and, in bf16, masters: this rank's share (ZeRO-1)
  std::int64_t buffers = 0;    ///< rotary tables, router biases and counts, tokens and targets

  std::int64_t total() const { return weights + gradients + optimizer + buffers; }
};

/// @throws ConfigError when the layout is impossible for the model, or cp*tp does not divide the tokens.
/// @param parts  the chunks of the model on this rank.
MemoryEstimate estimate_memory(const ModelConfig& config, DType dtype, const AdamWOptions& adamw,
                               std::span<const ModelPart> parts, const LayoutSizes& sizes, const StepCut& step);

}  // namespace athanor
