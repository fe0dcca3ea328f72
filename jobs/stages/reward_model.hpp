// Stage kind `reward_model`: a scalar head learns from preferences which answers are better. Source: InstructGPT (arXiv
// 2203.02155), section 3.5 and appendix C; DeepSeek-R1 (Nature 2025), supplement: reward models of stage 2.
#pragma once

#include "jobs/stage.hpp"

namespace athanor {

class RewardModelStage final : public Stage {
 public:
  void check(const JobOptions& options) const override;
  StageStatus run(StageContext& context) override;
};

}  // namespace athanor
