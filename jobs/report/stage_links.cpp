#include "jobs/report/stage_links.hpp"

#include <algorithm>

#include "jobs/rl/prompt_set.hpp"
#include "src/base/named_spec.hpp"

namespace athanor {
namespace {

class Links {
 public:
  explicit Links(std::span<const std::string> earlier) : earlier_(earlier) {}

  void add(const std::string& from, LinkKind kind) {
    const StageLink link{from, kind};
    if (std::find(earlier_.begin(), earlier_.end(), from) == earlier_.end()) return;
    if (std::find(found_.begin(), found_.end(), link) == found_.end()) found_.push_back(link);
  }
  void add_rewards(const std::string& rewards) {
    if (rewards.empty()) return;
    for (const NamedSpec& reward : parse_named_specs(rewards, "reward"))
      if (reward.name == "learned") add(reward.subject, LinkKind::reward);
  }
  std::vector<StageLink> take() { return std::move(found_); }

 private:
  std::span<const std::string> earlier_;
  std::vector<StageLink> found_;
};

}  // namespace

std::vector<StageLink> stage_links(const StageOptions& stage, const JobOptions& job,
                                   std::span<const std::string> earlier) {
  Links links(earlier);
  links.add(stage.init, LinkKind::weights);
  if (stage.kind == "sft" || stage.kind == "distill")
    for (const std::string& source : job.sft.data)
      if (constexpr std::string_view kMark = "stage:"; source.starts_with(kMark))
        links.add(source.substr(kMark.size()), LinkKind::data);
  if (stage.kind == "distill") links.add(job.distill.teacher, LinkKind::teacher);
  if (stage.kind == "rl") {
    for (const PromptSetSpec& set : prompt_sets(job.rl)) links.add_rewards(set.rewards);
    links.add(job.rl.critic, LinkKind::reward);
  }
  if (stage.kind == "evaluate") links.add_rewards(job.evaluate.rewards);
  return links.take();
}

}  // namespace athanor
