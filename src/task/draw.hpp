// Numbers drawn one after the other from one counter-based stream: what is drawn depends on (seed, stream) alone.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/rng.hpp"

namespace athanor {

class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t stream) : random_(seed, RandomPurpose::task, stream) {}

  /// Uniform in [0, count); count at least 1.
  std::int64_t below(std::int64_t count) {
    return static_cast<std::int64_t>(random_.word64(next_++) % static_cast<std::uint64_t>(count));
  }
  /// Uniform in [first, last].
  std::int64_t between(std::int64_t first, std::int64_t last) { return first + below(last - first + 1); }
  bool chance(double probability) { return random_.uniform(next_++) < probability; }
  template <class Items>
  const auto& one_of(const Items& items) {
    return items[static_cast<std::size_t>(below(static_cast<std::int64_t>(std::size(items))))];
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i)
      std::swap(items[i - 1], items[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
  }

 private:
  Philox random_;
  std::uint64_t next_ = 0;
};

}  // namespace athanor
