// Bytes that a step of generation must move, whatever the implementation does: what bounds it from below on a machine
// whose memory is slower than its arithmetic.
// Law, a step of R sequences with C tokens each in the cache: every weight of the main model once, the head among them
// (the embedding only where it is the head: of a look-up table R rows are read); of expert matrices the share expected
// to be chosen by R tokens that choose K of E experts evenly and independently, 1 - (1 - K/E)^R; the C cache rows of
// every sequence, and one written. Not counted: activations and logits, which are small beside these, and MTP modules.
// Weights take the bytes of the type; those that multiply in FP8 one byte and, for each 128 x 128 of them, 4 of a
// scale.
#pragma once

#include <cstdint>

#include "src/base/dtype.hpp"
#include "src/model/model_config.hpp"
#include "src/nn/decode_rows.hpp"

namespace athanor {

struct DecodeTraffic {
  double weights = 0.0;  ///< bytes of what every token meets: once a step and copy of the model
  double experts = 0.0;  ///< bytes of routed experts
  double cache = 0.0;    ///< bytes of keys and values

  double total() const { return weights + experts + cache; }
};

/// @param rows  sequences that a copy of the model writes at once, R.   @param context  tokens in the cache of each, C.
DecodeTraffic decode_traffic(const ModelConfig& config, DType dtype, CacheForm form, double rows, double context);

}  // namespace athanor
