// A block of an emulated kernel: what its threads can ask for, and the launch of a grid of them.
// Laws: every CUDA thread is a fiber of its own stack; a fiber runs until it waits at a barrier or a warp operation and
// all threads concerned have come to the same place. One that exited, or waits at another place, is a divergence: the
// launch fails with the kernel and both places. Threads that wait for a condition (wait_until) go on when it holds;
// when nothing else can go on, copies that were put off arrive (put_off), and where there are none the launch fails.
// Blocks run one after another, in an order shuffled by a seed. Dynamic shared memory is NaN before each block and ends
// at a page that cannot be touched.
#pragma once

#include <cuda_runtime_api.h>
#include <vector_types.h>

#include <cstddef>
#include <functional>
#include <source_location>
#include <string>

namespace emulation {

/// Where the running thread stands.
struct Here {
  uint3 thread{}, block{};
  dim3 block_dim, grid_dim;
};
inline Here here;

/// The lane of the running thread in its warp.
inline int lane_id() {
  return static_cast<int>((here.thread.x + here.block_dim.x * (here.thread.y + here.block_dim.y * here.thread.z)) % 32);
}

/// Waits for every thread of the block. @returns the sum of what each brought.
int block_barrier(int mine, const std::source_location& where);
/// Waits for the lanes of `mask`; result = the `bytes` at `mine` of lane `source`. With 0 bytes it only waits.
void shuffle(unsigned mask, const void* mine, std::size_t bytes, int source, void* result,
             const std::source_location& where);
/// The lanes of `mask` that brought true.
unsigned ballot(unsigned mask, bool mine, const std::source_location& where);
/// Waits for all 32 lanes; of_all_32_lanes = the `bytes` at `mine` of every lane, one after another. What instructions
/// of a whole warp are made of.
void exchange(const void* mine, std::size_t bytes, void* of_all_32_lanes,
              const std::source_location& where = std::source_location::current());
/// Waits until holds(what), which is asked between the turns of other threads.
void wait_until(bool (*holds)(const void* what), const void* what,
                const std::source_location& where = std::source_location::current());
/// Does `work` now or, by the dice, when no thread of the block can go on without it: copies that run beside threads.
void put_off(std::function<void()> work);
/// Ends the launch with what the running thread did wrong.
[[noreturn]] void refuse(const std::string& what, const std::source_location& where = std::source_location::current());
/// The block's dynamic shared memory; aligned to 128 bytes, and to 1024 where its size is a multiple of that.
std::byte* shared_memory();
std::size_t shared_memory_bytes();

struct Grid {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  std::source_location where;  ///< of the launch
};
/// Enqueues a kernel; `thread` runs one thread of it. @returns a cudaError_t: whether the shape is one a GPU accepts.
int enqueue_kernel(const Grid& grid, cudaStream_t stream, std::function<void()> thread);

}  // namespace emulation
