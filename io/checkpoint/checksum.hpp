// Checksums of checkpoints: XXH3-128, written as 32 hex digits.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

struct XXH3_state_s;

namespace athanor {

/// Over bytes that come in parts.
class Checksum {
 public:
  Checksum();
  void update(std::span<const std::byte> bytes);
  std::string hex() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const noexcept;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

/// Over bytes at hand: equal to a Checksum that was updated with them in any parts.
std::string checksum_of(std::span<const std::byte> bytes);

}  // namespace athanor
