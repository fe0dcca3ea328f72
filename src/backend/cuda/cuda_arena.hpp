// Memory of one GPU behind the caching Arena: cudaMalloc is asked only for sizes not seen before.
// Law: a block whose last tensor died is handed out again at once, while its old work may still be on a stream. That is
// right for work that follows on the back end's first stream; on another, CudaStream::keep() holds the tensors until
// their work is done.
#pragma once

#include "src/backend/storage.hpp"

namespace athanor::cuda {

class CudaArena final : public Arena {
 public:
  explicit CudaArena(int device) : device_(device) {}
  ~CudaArena() override { release_cached(); }

 private:
  std::byte* system_allocate(std::size_t bytes) override;
  void system_free(std::byte* data, std::size_t bytes) noexcept override;

  int device_;
};

}  // namespace athanor::cuda
