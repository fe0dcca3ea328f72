// Work that comes again, recorded with CUDA's stream capture. Laws: a shape's first run is the work itself, which makes
// ready what the host prepares once (algorithms of products, scratch memory, kernels that are loaded late); its second
// is recorded and replayed, later ones are replayed. What the work allocates comes from a reserve that all shapes
// share, because no two of them run at once, and that nobody else gets while the recordings live. While recording the
// driver is asked for no memory: where the reserve is short, the run is the work itself once more, which makes the
// reserve grow.
#pragma once

#include <map>

#include "src/backend/cuda/cuda_stream.hpp"

namespace athanor::cuda {

class CudaGraphs final : public Graphs {
 public:
  /// @throws Error where the stream is not the first of its back end.
  CudaGraphs(CudaStream& stream, Arena& arena);
  ~CudaGraphs() override;
  CudaGraphs(const CudaGraphs&) = delete;
  CudaGraphs& operator=(const CudaGraphs&) = delete;

  void run(std::int64_t shape, const std::function<void()>& work) override;
  bool replays() const override { return true; }

 private:
  struct Shape {
    bool ran = false;
    cudaGraphExec_t recorded = nullptr;
    bool checks_ids = false;
    StorageRef scratch;
  };
  /// @returns false where the reserve is short.
  bool record(Shape& shape, const std::function<void()>& work);

  CudaStream& stream_;
  ArenaReserve reserve_;
  std::map<std::int64_t, Shape> shapes_;
};

}  // namespace athanor::cuda
