// Stage kind `evaluate`: the weights named by `init`, measured on held-out text (perplexity, bits per byte) where
// [data] has some, and on problems (evaluate.benchmarks) where there are any. Leaves summary.json, summary.md and
// samples.jsonl in the stage's folder. Law: what can be refused is refused before weights are read; a stage that was
// stopped begins anew.
#pragma once

#include "jobs/stage.hpp"

namespace athanor {

class EvaluateStage final : public Stage {
 public:
  void check(const JobOptions& options) const override;
  StageStatus run(StageContext& context) override;
};

}  // namespace athanor
