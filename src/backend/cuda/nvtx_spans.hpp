// The spans of the program as NVTX ranges, in the picture of NVIDIA's profilers.
#pragma once

namespace athanor::cuda {

/// From here on ranges are made of spans, where this process runs under a profiler that takes them (Nsight Systems and
/// Nsight Compute say so in NVTX_INJECTION64_PATH); else nothing is done.
void show_spans_to_profiler();

}  // namespace athanor::cuda
