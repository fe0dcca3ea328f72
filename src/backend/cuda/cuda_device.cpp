#include "src/backend/cuda/cuda_device.hpp"

#include <spdlog/spdlog.h>

#include <string>

#include "src/base/error.hpp"

namespace athanor::cuda {

void fail(std::string_view what, std::string_view reason, const std::source_location& where) {
  throw Error("cuda: " + std::string(what) + ": " + std::string(reason) + " (" + where.file_name() + ":" +
              std::to_string(where.line()) + ")");
}

void check(cudaError_t status, std::string_view what, const std::source_location& where) {
  if (status != cudaSuccess) fail(what, cudaGetErrorString(status), where);
}

void check_or_log(cudaError_t status, std::string_view what) noexcept {
  if (status == cudaSuccess) return;
  try {
    spdlog::warn("cuda: {}: {}", what, cudaGetErrorString(status));
  } catch (...) {
    // A destructor has nowhere else to say it.
  }
}

int device_count(std::string_view* reason) {
  int count = 0;
  // Without a driver this fails and leaves the count untouched.
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  if (status != cudaSuccess) cudaGetLastError();  // the failure must not stick to the next call
  if (reason) *reason = status == cudaSuccess ? "no device" : cudaGetErrorString(status);
  return 0;
}

std::string description_of(int device) {
  cudaDeviceProp properties{};
  int driver = 0, runtime = 0;
  check(cudaGetDeviceProperties(&properties, device), "the properties of the device");
  check(cudaDriverGetVersion(&driver), "the version of the driver");
  check(cudaRuntimeGetVersion(&runtime), "the version of the runtime");
  const auto version = [](int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  };
  return std::string(properties.name) + ", " + std::to_string(properties.totalGlobalMem / 1000000000U) + " GB, " +
         std::to_string(properties.multiProcessorCount) + " multiprocessors, compute capability " +
         std::to_string(properties.major) + "." + std::to_string(properties.minor) + ", driver " + version(driver) +
         ", runtime " + version(runtime);
}

int capability_of(int device) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "the compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "the compute capability");
  return 10 * major + minor;
}

bool has_hopper_kernels(int device) {
#ifdef ATHANOR_HOPPER_KERNELS
  return capability_of(device) == 90;
#else
  static_cast<void>(device);
  return false;
#endif
}

DeviceGuard::DeviceGuard(int device) : device_(device) {
  check(cudaGetDevice(&previous_), "which device is current");
  if (previous_ != device_) check(cudaSetDevice(device_), "make a device current");
}

DeviceGuard::~DeviceGuard() {
  if (previous_ != device_) check_or_log(cudaSetDevice(previous_), "make the previous device current");
}

}  // namespace athanor::cuda
