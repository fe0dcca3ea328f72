// Bytes of activations, layer by layer, without running anything.
// Law: read off the layers' Saved structs and the order of their calls, every tensor once, each with the block that the
// arena gives it (Arena::block_bytes). A layer owns the input it keeps; its output is the next one's.
//   T tokens of a micro-batch. Rows a rank: T/(cp*tp) of the residual stream, norms, router and latents (sequence
//   parallel), T/cp of queries and inner widths, T of keys and values (gathered over cp). What a linear split over tp
//   reads, and the gradient that one reads, is kept gathered: T/cp rows. Rows for the experts held
//   here: T*K/(cp*tp), which every rank gets when experts are evenly loaded.
#pragma once

#include <cstdint>

#include "src/base/dtype.hpp"
#include "src/model/model_part.hpp"

namespace athanor {

struct ActivationMemory {
  std::int64_t forward_kept = 0;  ///< a micro-batch holds between F and I
  std::int64_t weight_kept = 0;   ///< between I and W
  std::int64_t highest = 0;       ///< a micro-batch holds at most during its own F and I, temporaries included
};

/// Of one micro-batch in this part of the model. @param tokens  T, over all ranks of cp and tp; cp*tp divides it.
ActivationMemory activation_memory(const ModelConfig& config, DType dtype, const ModelPart& part,
                                   const LayoutSizes& sizes, std::int64_t tokens);

}  // namespace athanor
