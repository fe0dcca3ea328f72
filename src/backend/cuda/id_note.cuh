// How a kernel leaves a note of a bad index (id_check.cuh); apart, because host code sees IdCheck and no atomics.
#pragma once

#include "src/backend/cuda/id_check.cuh"

namespace athanor::cuda {

__device__ inline void IdCheck::tell(std::int64_t id, std::int64_t place) const {
  const unsigned long long first = atomicCAS(&note->call, 0ULL, call);
  if (first != 0 && first != call) return;
  const unsigned long long said =
      static_cast<unsigned long long>(place) << 32 | static_cast<unsigned>(static_cast<std::int32_t>(id));
  atomicMax(&note->place_and_id, ~said);
  note->op = op;
  note->lowest = lowest;
  note->limit = limit;
}

__device__ inline bool IdCheck::holds(std::int64_t id, std::int64_t place) const {
  if (contains(id)) return true;
  tell(id, place);
  return false;
}

}  // namespace athanor::cuda
