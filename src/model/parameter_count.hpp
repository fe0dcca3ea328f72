// How many parameters a configuration has, without allocating any.
#pragma once

#include <cstdint>

#include "src/model/model_config.hpp"

namespace athanor {

/// As the model cards count: a sigmoid gate's selection biases are included; MTP modules are counted apart.
struct ParameterCount {
  std::int64_t total = 0;                        ///< main model
  std::int64_t activated = 0;                    ///< used by one token: K of E experts
  std::int64_t activated_without_embedding = 0;  ///< less the look-up table (a tied head keeps it)
  std::int64_t mtp = 0;                          ///< of the MTP modules, without the shared embedding and head
};

ParameterCount parameter_count(const ModelConfig& config);

}  // namespace athanor
