// The one place that knows the devices: the CPU's, and what the program offered (device_offer.hpp).
#include <utility>

#include "src/backend/backend.hpp"
#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/device_offer.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

using Offer = std::pair<std::string, std::function<std::unique_ptr<Backend>()>>;

/// In the order in which they were offered.
std::vector<Offer>& offers() {
  static std::vector<Offer> all;
  return all;
}

}  // namespace

void offer_device(const std::string& name, std::function<std::unique_ptr<Backend>()> make) {
  offers().emplace_back(name, std::move(make));
}

std::vector<std::string> available_devices() {
  std::vector<std::string> names{"cpu", "cpu-guarded"};
  for (const Offer& offer : offers()) names.push_back(offer.first);
  return names;
}

std::unique_ptr<Backend> make_backend(const std::string& name) {
  for (const auto& [offered, make] : offers())
    if (offered == name) return make();
  const Device device = device_from_string(name);
  switch (device.kind) {
    case Device::Kind::cpu:
      return std::make_unique<CpuBackend>(false);
    case Device::Kind::cpu_guarded:
      return std::make_unique<CpuBackend>(true);
    case Device::Kind::cuda:
      break;
  }
  if (const std::string full = to_string(device); full != name) return make_backend(full);  // "cuda" is "cuda:0"
  std::string here;
  for (const std::string& known : available_devices()) here += (here.empty() ? "" : ", ") + known;
  throw ConfigError("device: '" + name + "' is not here: this build and machine offer " + here +
                    "; choose one of them");
}

}  // namespace athanor
