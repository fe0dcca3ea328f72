// Streams of the emulated GPU. Law: work runs late, in order, on the host thread that waits for it, with device memory
// readable for just that time; a failure is kept and told to whoever waits for the stream next.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

namespace emulation {

/// Appends work that runs with device memory open. It fails by throwing.
void enqueue(cudaStream_t stream, std::function<void()> work);

}  // namespace emulation
