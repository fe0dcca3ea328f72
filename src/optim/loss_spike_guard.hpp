// Decides whether a step's update is skipped because its loss or gradient norm is an outlier.
// Law: a step is an outlier when its loss or its norm lies more than z_threshold standard deviations above the mean of
// the last `window` steps; nothing is skipped before half a window is seen. Outliers enter the window too, so a lasting
// change of level is accepted after a while. The decision is a pure function of the values given, which are the same on
// all ranks; state() restores it bit for bit. Source: OLMo-core's SkipStepOptimizer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/optim/optimizer_options.hpp"

namespace athanor {

class LossSpikeGuard {
 public:
  explicit LossSpikeGuard(const SpikeGuardOptions& options);

  bool enabled() const { return options_.z_threshold > 0.0; }
  /// True when the update is to be skipped. Takes the values into the window. Allocates nothing.
  bool should_skip(double loss, double grad_norm);

  /// The window as text, exact.
  std::string state() const;
  /// @throws DataError when the text is no state of this window length.
  void restore(const std::string& state);

 private:
  bool is_outlier(const std::vector<double>& history, double value) const;

  SpikeGuardOptions options_;
  std::vector<double> losses_, norms_;  ///< rings of `window` entries
  std::size_t count_ = 0;               ///< values ever seen
};

}  // namespace athanor
