// The longest completion allowed, as it grows in a run. R1-Zero: 32,768 tokens before step 8,200, 65,536 after
// (DeepSeek-R1, supplementary B.3.1).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace athanor {

class LengthStages {
 public:
  /// @param text  "0:32, 100:64": from this many steps done on, so many tokens; empty: always `longest`.
  /// @throws ConfigError for what is no such list, does not rise in steps, or exceeds `longest`.
  LengthStages(const std::string& text, std::int64_t longest);

  std::int64_t tokens_after(std::int64_t steps_done) const;

 private:
  struct Stage {
    std::int64_t steps, tokens;
  };
  std::vector<Stage> stages_;
};

}  // namespace athanor
