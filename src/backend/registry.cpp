// The one place that knows which back ends are compiled in.
#include "src/backend/backend.hpp"
#include "src/backend/cpu/cpu_backend.hpp"
#include "src/base/error.hpp"

namespace athanor {

std::vector<std::string> available_devices() { return {"cpu", "cpu-guarded"}; }

std::unique_ptr<Backend> make_backend(const std::string& name) {
  const Device device = device_from_string(name);
  switch (device.kind) {
    case Device::Kind::cpu:
      return std::make_unique<CpuBackend>(false);
    case Device::Kind::cpu_guarded:
      return std::make_unique<CpuBackend>(true);
    case Device::Kind::cuda:
      break;
  }
  throw ConfigError("device: '" + name + "' cannot run the model in this build; choose cpu or cpu-guarded");
}

}  // namespace athanor
