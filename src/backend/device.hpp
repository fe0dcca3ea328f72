// The place where a tensor's bytes live.
#pragma once

#include <cstdint>
#include <string>

namespace athanor {

struct Device {
  enum class Kind : std::uint8_t { cpu, cpu_guarded, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  bool is_cpu() const { return kind != Kind::cuda; }
  friend bool operator==(const Device&, const Device&) = default;
};

/// "cpu", "cpu-guarded", "cuda:0".
std::string to_string(Device device);
/// Inverse of to_string ("cuda" means cuda:0). @throws ConfigError naming the known devices.
Device device_from_string(const std::string& text);

}  // namespace athanor
