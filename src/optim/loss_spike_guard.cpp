#include "src/optim/loss_spike_guard.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <sstream>

#include "src/base/error.hpp"

namespace athanor {

LossSpikeGuard::LossSpikeGuard(const SpikeGuardOptions& options) : options_(options) {
  options.validate();
  if (!enabled()) return;
  losses_.resize(static_cast<std::size_t>(options.window));
  norms_.resize(static_cast<std::size_t>(options.window));
}

bool LossSpikeGuard::is_outlier(const std::vector<double>& history, double value) const {
  const std::size_t filled = std::min(count_, history.size());
  if (filled < history.size() / 2) return false;
  double mean = 0.0, square = 0.0;
  for (std::size_t i = 0; i < filled; ++i) mean += history[i];
  mean /= static_cast<double>(filled);
  for (std::size_t i = 0; i < filled; ++i) square += (history[i] - mean) * (history[i] - mean);
  const double deviation = std::sqrt(square / static_cast<double>(filled - 1));
  return value - mean > options_.z_threshold * deviation;
}

bool LossSpikeGuard::should_skip(double loss, double grad_norm) {
  if (!enabled()) return false;
  const bool skip = is_outlier(losses_, loss) || is_outlier(norms_, grad_norm);
  losses_[count_ % losses_.size()] = loss;
  norms_[count_ % norms_.size()] = grad_norm;
  ++count_;
  return skip;
}

std::string LossSpikeGuard::state() const {
  std::ostringstream text;
  text << losses_.size() << ' ' << count_ << std::hex;
  for (const auto* ring : {&losses_, &norms_})
    for (const double value : *ring) text << ' ' << std::bit_cast<std::uint64_t>(value);
  return text.str();
}

void LossSpikeGuard::restore(const std::string& state) {
  std::istringstream text(state);
  std::size_t window = 0, count = 0;
  text >> window >> count >> std::hex;
  if (!text || window != losses_.size())
    throw DataError("spike guard: the saved window has " + std::to_string(window) + " steps, the options say " +
                    std::to_string(losses_.size()) + "; keep optimizer.spike_guard as it was when the run began");
  auto losses = losses_, norms = norms_;
  for (auto* ring : {&losses, &norms})
    for (double& value : *ring) {
      std::uint64_t bits = 0;
      text >> bits;
      value = std::bit_cast<double>(bits);
    }
  if (!text && window > 0) throw DataError("spike guard: the saved window is cut short");
  losses_ = std::move(losses);
  norms_ = std::move(norms);
  count_ = count;
}

}  // namespace athanor
