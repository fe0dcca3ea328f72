#include "parallel/rollout/token_advantage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "src/base/error.hpp"

namespace athanor {

std::vector<double> token_rewards(double score, std::span<const double> logprobs, std::span<const double> ref_logprobs,
                                  double kl_beta) {
  if (logprobs.empty() || (!ref_logprobs.empty() && ref_logprobs.size() != logprobs.size()))
    throw Error(fmt::format("token_rewards: wanted a reference for each of at least one token, found {} for {}",
                            ref_logprobs.size(), logprobs.size()));
  std::vector<double> rewards(logprobs.size(), 0.0);
  for (std::size_t t = 0; t < ref_logprobs.size(); ++t) rewards[t] = -kl_beta * (logprobs[t] - ref_logprobs[t]);
  rewards.back() += score;
  return rewards;
}

TokenAdvantages generalized_advantages(std::span<const double> rewards, std::span<const double> values, double gamma,
                                       double lambda) {
  if (rewards.size() != values.size())
    throw Error(fmt::format("generalized_advantages: wanted a value for each of {} rewards, found {}", rewards.size(),
                            values.size()));
  TokenAdvantages result;
  result.advantages.resize(rewards.size());
  result.returns.resize(rewards.size());
  double next_value = 0.0, advantage = 0.0;
  for (std::size_t t = rewards.size(); t-- > 0;) {
    advantage = rewards[t] + gamma * next_value - values[t] + gamma * lambda * advantage;
    result.advantages[t] = advantage;
    result.returns[t] = advantage + values[t];
    next_value = values[t];
  }
  return result;
}

void MaskedSums::add(std::span<const double> values) {
  for (const double value : values) {
    numbers[0] += 1.0;
    numbers[1] += value;
    numbers[2] += value * value;
  }
}

double MaskedSums::variance() const {
  if (count() < 2.0) return 0.0;
  return std::max(0.0, numbers[2] - numbers[1] * mean()) / (count() - 1.0);
}

void whiten_tokens(std::span<double> values, const MaskedSums& sums, bool shift_mean) {
  const double mean = sums.mean(), scale = 1.0 / std::sqrt(sums.variance() + 1e-8);
  for (double& value : values) value = (value - mean) * scale + (shift_mean ? 0.0 : mean);
}

AdaptiveKl::AdaptiveKl(double beta, double target, double horizon) : beta_(beta), target_(target), horizon_(horizon) {
  if (!(beta >= 0.0) || !(target >= 0.0) || !(horizon > 0.0))
    throw ConfigError(fmt::format(
        "the coefficient of the divergence: wanted a coefficient and a target of 0 or more and a horizon above 0, "
        "found {}, {} and {}",
        beta, target, horizon));
}

void AdaptiveKl::update(double kl, std::int64_t samples) {
  if (target_ == 0.0) return;
  const double error = std::clamp(kl / target_ - 1.0, -0.2, 0.2);
  beta_ *= 1.0 + error * static_cast<double>(samples) / horizon_;
}

std::string AdaptiveKl::state() const { return fmt::format("{:a}", beta_); }

void AdaptiveKl::restore(const std::string& state) {
  char* end = nullptr;
  const double beta = std::strtod(state.c_str(), &end);
  if (state.empty() || *end != '\0' || !std::isfinite(beta))
    throw DataError("coefficient of the divergence: wanted a number, found '" + state.substr(0, 40) + "'");
  beta_ = beta;
}

}  // namespace athanor
