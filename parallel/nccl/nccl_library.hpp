// The table of calls filled from the linked NCCL, where the build has one.
#pragma once

#include <memory>
#include <string>

#include "parallel/nccl/nccl_api.hpp"

namespace athanor {

/// Whether this build has NCCL; where not, `reason` (optional) says what to do.
bool has_nccl(std::string* reason = nullptr);

/// NCCL for GPU number `device` of this process. Sets, where the user has not, NCCL_LAUNCH_ORDER_IMPLICIT = 1: calls of
/// several communicators then begin on the device in the order in which the program makes them, which is the same on
/// all ranks, so that they cannot wait for each other crosswise.
/// @throws ConfigError when the build has none.
std::unique_ptr<NcclApi> linked_nccl(int device);

/// Which physical GPU number `device` of this process is (its place on the bus), whatever CUDA_VISIBLE_DEVICES hides.
/// Where the build has no NCCL: the number and that variable, which tell GPUs of one machine apart.
std::string gpu_identity(int device);

}  // namespace athanor
