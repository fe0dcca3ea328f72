// One number a token from a forward without a backward, for the host: log-probabilities, values.
#pragma once

#include <functional>
#include <vector>

#include "jobs/environment.hpp"
#include "parallel/mesh_model.hpp"

namespace athanor {

/// What a model says of the tokens of its context; undefined where the head is not.
using TokenForward = std::function<Tensor(ExecContext&)>;

/// Runs `forward` (of `model`) on a micro-batch and brings its numbers from the rank with the head to all ranks of pp,
/// and those of all ranks of cp together: one a token of whole rows. Collective over pp and the layer axis.
std::vector<double> token_numbers(Environment& env, const MeshModel& model, const MicroBatch& micro_batch,
                                  const TokenForward& forward);

}  // namespace athanor
