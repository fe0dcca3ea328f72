// Stage kinds `sft` (conversations alone) and `distill` (the same from a model of another shape or from nothing, with a
// teacher's distribution where one is named).
#pragma once

#include "jobs/stage.hpp"

namespace athanor {

class FineTuningStage final : public Stage {
 public:
  enum class Kind : std::uint8_t { sft, distill };
  explicit FineTuningStage(Kind kind) : kind_(kind) {}

  void check(const JobOptions& options) const override;
  StageStatus run(StageContext& context) override;

 private:
  Kind kind_;
};

}  // namespace athanor
