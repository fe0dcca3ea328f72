// Devices and failures of CUDA. Law: every call of the runtime goes through check(); a failure is an athanor::Error
// that names what was wanted, the reason CUDA gives and the line.
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>
#include <string>
#include <string_view>

namespace athanor::cuda {

/// @throws Error "cuda: <what>: <reason> (file:line)", always.
[[noreturn]] void fail(std::string_view what, std::string_view reason, const std::source_location& where);
/// @throws Error "cuda: <what>: <reason> (file:line)" unless the call succeeded.
void check(cudaError_t status, std::string_view what,
           const std::source_location& where = std::source_location::current());
/// For destructors: logs instead of throwing.
void check_or_log(cudaError_t status, std::string_view what) noexcept;

/// GPUs this process can use; 0 also where there is no driver. `reason` (optional) says why there are none.
int device_count(std::string_view* reason = nullptr);

/// "NVIDIA H200, 141 GB, 132 multiprocessors, compute capability 9.0, driver 13.0, runtime 13.0".
std::string description_of(int device);
/// Compute capability of a device: 90 for 9.0.
int capability_of(int device);
/// Whether kernels of wgmma.cuh and tile_copy.cuh run there: on Hopper, in a program built for sm_90a. Elsewhere they
/// trap.
bool has_hopper_kernels(int device);

/// Makes a device current for a scope. CUDA keeps the current device per host thread.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0, device_ = 0;
};

}  // namespace athanor::cuda
