// Model FLOPs: what the mathematics needs, whatever the implementation does (Chowdhery et al. 2022, appendix B).
// Law, a token: 2 FLOPs forward and 4 backward for every weight of every matrix the token meets (K of E experts; the
// head once for the main model and once for each MTP module; no embedding look-up, no norms), plus attention counted
// causally: a token of a sequence of S meets (S+1)/2 keys on average, each 2 (Q + V) FLOPs a head and layer forward and
// twice that backward, Q and V being the widths of a query and a value head. Recomputation does not count.
#pragma once

#include <cstdint>

#include "src/model/model_config.hpp"

namespace athanor {

/// Forward and backward of one token in training sequences of the given length, MTP included.
double training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length);

/// Forward alone, without MTP: evaluation of sequences of the given length.
double forward_flops_per_token(const ModelConfig& config, std::int64_t sequence_length);

}  // namespace athanor
