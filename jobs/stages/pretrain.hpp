// Stage kind `pretrain`: next-token (and MTP) training on text.
#pragma once

#include "jobs/stage.hpp"

namespace athanor {

class PretrainStage final : public Stage {
 public:
  StageStatus run(StageContext& context) override;
};

}  // namespace athanor
