// Stage kind `evaluate`: perplexity and bits per byte of the weights named by `init` on held-out text.
#pragma once

#include "jobs/stage.hpp"

namespace athanor {

class EvaluateStage final : public Stage {
 public:
  StageStatus run(StageContext& context) override;
};

}  // namespace athanor
