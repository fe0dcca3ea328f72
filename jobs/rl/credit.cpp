#include "jobs/rl/credit.hpp"

#include "parallel/rollout/advantage.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

/// Sum over the completion of log p - log p of the reference: k1, what a sample says of the divergence.
double log_ratio(const Experience& experience) {
  double sum = 0.0;
  for (std::size_t t = 0; t < experience.logprobs.size(); ++t)
    sum += experience.logprobs[t] - experience.ref_logprobs[t];
  return sum;
}

}  // namespace

Credit::Credit(const JobOptions& options, ProcessMesh& mesh, ReferencePolicy* reference, Critic* critic)
    : rl_(options.rl),
      mesh_(mesh),
      reference_(reference),
      critic_(critic),
      objective_(objective_of(options.rl.objective)),
      kl_(options.rl.kl_beta, options.rl.kl_target, options.rl.kl_horizon) {
  if (rl_.kl_in == KlIn::token && critic == nullptr)
    throw ConfigError("rl.kl_in = token: advantages of " + rl_.objective +
                      " are of whole completions; choose rl.kl_in = reward or loss, or rl.objective = ppo");
  if (rl_.kl_in == KlIn::reward && critic != nullptr)
    throw ConfigError("rl.kl_in = reward: ppo takes the divergence off at each token; choose rl.kl_in = token or loss");
  if (rl_.kl_target > 0.0 && (rl_.kl_in != KlIn::token || rl_.kl_beta == 0.0))
    throw ConfigError("rl.kl_target: wanted rl.kl_in = token and an rl.kl_beta to begin with");
}

std::vector<bool> Credit::assign(std::vector<Experience>& experiences, std::vector<std::optional<double>> totals,
                                 ExperienceBatcher& batcher, RolloutTally& tally) {
  if (reference_ && rl_.kl_in != KlIn::loss) {
    reference_->score(experiences, batcher);
    for (const Experience& experience : experiences) tally.add_divergence(log_ratio(experience));
  }
  if (critic_) {
    from_values(experiences, totals, batcher);
    return std::vector<bool>(experiences.size() / static_cast<std::size_t>(rl_.group_size), false);
  }
  if (reference_ && rl_.kl_in == KlIn::reward)
    for (std::size_t i = 0; i < experiences.size(); ++i)
      if (totals[i]) *totals[i] -= rl_.kl_beta * log_ratio(experiences[i]);
  return among_siblings(experiences, totals, tally);
}

std::vector<bool> Credit::among_siblings(std::vector<Experience>& experiences,
                                         std::span<const std::optional<double>> totals, RolloutTally& tally) const {
  const auto group = static_cast<std::size_t>(rl_.group_size);
  std::vector<bool> flat;
  for (std::size_t first = 0; first < experiences.size(); first += group) {
    const GroupAdvantages advantages = group_advantages(totals.subspan(first, group), objective_.advantage);
    tally.add_group(advantages);
    for (std::size_t i = 0; i < group; ++i) experiences[first + i].advantage = advantages.advantages[i];
    flat.push_back(advantages.zero_spread);
  }
  return flat;
}

void Credit::from_values(std::vector<Experience>& experiences, std::span<const std::optional<double>> totals,
                         ExperienceBatcher& batcher) {
  critic_->score(experiences, batcher);
  for (std::size_t i = 0; i < experiences.size(); ++i) {
    Experience& experience = experiences[i];
    const std::span<const double> reference =
        rl_.kl_in == KlIn::token ? std::span<const double>(experience.ref_logprobs) : std::span<const double>{};
    const auto rewards = token_rewards(totals[i].value_or(0.0), experience.logprobs, reference, kl_.beta());
    TokenAdvantages credit = generalized_advantages(rewards, experience.values, rl_.gamma, rl_.gae_lambda);
    experience.advantages = std::move(credit.advantages);
    experience.returns = std::move(credit.returns);
    // For people: the mean over the completion.
    experience.advantage = 0.0;
    for (const double advantage : experience.advantages)
      experience.advantage += advantage / static_cast<double>(experience.advantages.size());
  }
}

void Credit::whiten(std::vector<Experience>& experiences) {
  if (!objective_.whitens) return;
  const bool counts = counts_problems(mesh_);
  MaskedSums sums;
  for (const Experience& e : experiences)
    if (counts && !e.masked) sums.add(e.advantages.empty() ? std::span(&e.advantage, 1) : std::span(e.advantages));
  mesh_.host(Axis::world).sum(std::span(sums.numbers));
  for (Experience& e : experiences) {
    if (e.masked) continue;
    whiten_tokens({&e.advantage, 1}, sums);
    whiten_tokens(e.advantages, sums);
  }
}

void Credit::adapt(const RolloutStatistics& rollout) { kl_.update(rollout.kl, rollout.completions); }

}  // namespace athanor
