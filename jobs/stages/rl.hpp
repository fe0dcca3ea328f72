// The stage kind "rl": rollouts, rewards, policy updates; R1-Zero when it starts from a pre-trained base.
#pragma once

#include "jobs/stage.hpp"

namespace athanor {

class RlStage final : public Stage {
 public:
  void check(const JobOptions& options) const override;
  StageStatus run(StageContext& context) override;
};

}  // namespace athanor
