// Checks of indices, which live on the device: a kernel passes over what is no index and leaves a note, which the
// stream's synchronize() turns into an Error. Law: of the calls on a stream the first that met a bad index tells, of
// its indices the one at the lowest place. A call that a graph replays keeps the number of its recording.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace athanor::cuda {

/// The note of a stream, in device memory. All zeros: nothing bad was met.
struct IdNote {
  unsigned long long call;          ///< number of the call on its stream, from 1
  unsigned long long place_and_id;  ///< ~(place << 32 | id), so that the lowest place is the largest
  const char* op;                   ///< host text
  std::int64_t lowest, limit;
};

/// What a call hands to its kernels.
struct IdCheck {
  IdNote* note;
  unsigned long long call;
  const char* op;  ///< text that outlives the stream's work
  std::int64_t lowest, limit;

  __device__ bool contains(std::int64_t id) const { return id >= lowest && id < limit; }
  /// Leaves a note of a bad id, which stands at `place`. Defined for kernels, in id_note.cuh.
  __device__ void tell(std::int64_t id, std::int64_t place) const;
  /// Whether `id` is one; a note is left if not.
  __device__ bool holds(std::int64_t id, std::int64_t place) const;
};

}  // namespace athanor::cuda
