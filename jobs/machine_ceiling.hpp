// The ceilings of the machine this process runs on, measured here and now: what a matrix product and a copy reach at
// best. Benchmarks report shares of these, never bare times.
#pragma once

#include "src/backend/backend.hpp"

namespace athanor {

/// FLOP/s of the best of several square products of operands of `dtype` with this process's threads.
double measure_gemm_peak(Backend& ops, DType dtype, Stream& stream);

/// Bytes per second read plus written by the best of several copies of a tensor larger than the caches.
double measure_copy_bandwidth(Backend& ops, Stream& stream);

}  // namespace athanor
