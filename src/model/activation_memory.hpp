// Bytes of activations, layer by layer, without running anything.
// Law: read off the layers' Saved structs and the order of their calls, every tensor once, each with the block that the
// arena gives it (Arena::block_bytes). A layer owns the input it keeps; its output is the next one's.
//   T tokens of a micro-batch. Rows a rank: T/(cp*tp) of the residual stream, norms, router and latents (sequence
//   parallel), T/cp of queries and inner widths, T of keys and values (gathered over cp). A linear split over tp
//   keeps this rank's rows of its input and gathers the rest again in I; from there to W the input, and the gradients
//   that w_o and w_down read, are held gathered: T/cp rows. Rows for the experts held here:
//   T*K/(cp*tp), which every rank gets when experts are evenly loaded.
#pragma once

#include <cstdint>

#include "src/base/dtype.hpp"
#include "src/model/model_part.hpp"
#include "src/nn/recompute.hpp"

namespace athanor {

struct ActivationMemory {
  std::int64_t forward_kept = 0;      ///< a micro-batch holds between F and I
  std::int64_t weight_kept = 0;       ///< between I and W
  std::int64_t forward_highest = 0;   ///< at most during its own F, temporaries included
  std::int64_t backward_highest = 0;  ///< during its own I
  std::int64_t fused_highest = 0;     ///< during its own B, where W of each layer follows I at once
  std::int64_t message = 0;           ///< what goes to another part, and its gradient
};

/// Of one micro-batch in this part of the model. @param tokens  T, over all ranks of cp and tp; cp*tp divides it.
ActivationMemory activation_memory(const ModelConfig& config, DType dtype, const ModelPart& part,
                                   const LayoutSizes& sizes, std::int64_t tokens,
                                   Recompute recompute = Recompute::none);

}  // namespace athanor
