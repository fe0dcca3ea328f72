#include "src/backend/device.hpp"

#include <charconv>

#include "src/base/error.hpp"

namespace athanor {

std::string to_string(Device device) {
  switch (device.kind) {
    case Device::Kind::cpu:
      return "cpu";
    case Device::Kind::cpu_guarded:
      return "cpu-guarded";
    case Device::Kind::cuda:
      return "cuda:" + std::to_string(device.index);
  }
  return "unknown";
}

Device device_from_string(const std::string& text) {
  if (text == "cpu") return {Device::Kind::cpu, 0};
  if (text == "cpu-guarded") return {Device::Kind::cpu_guarded, 0};
  if (text == "cuda") return {Device::Kind::cuda, 0};
  if (text.starts_with("cuda:")) {
    int index = -1;
    const char* end = text.data() + text.size();
    if (const auto [stop, code] = std::from_chars(text.data() + 5, end, index);
        code == std::errc{} && stop == end && index >= 0)
      return {Device::Kind::cuda, index};
  }
  throw ConfigError("device: '" + text + "' is not one of cpu, cpu-guarded, cuda, cuda:N");
}

}  // namespace athanor
