// Stage kind `rejection_sampling`: the model named by `init` solves problems of rl.tasks several times; what is right
// and readable becomes conversations for `sft` and `distill`, mixed with others where [sampling] says so. Leaves
// data/conversations.jsonl (a conversation a line) and data/rejected.json (what was left out, and why) in the stage's
// folder. Laws: what can be refused is refused before weights are read; a stage that was stopped, or killed anywhere,
// goes on behind its last whole round (jobs/sampling/conversation_log).
#pragma once

#include "jobs/stage.hpp"

namespace athanor {

class RejectionSamplingStage final : public Stage {
 public:
  void check(const JobOptions& options) const override;
  StageStatus run(StageContext& context) override;
};

}  // namespace athanor
