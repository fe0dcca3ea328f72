#include "src/backend/cuda/cuda_graphs.hpp"

#include "src/backend/cuda/cuda_device.hpp"
#include "src/base/error.hpp"

namespace athanor::cuda {
namespace {

void destroy(cudaGraph_t graph) {
  if (graph) check_or_log(cudaGraphDestroy(graph), "destroy a recording");
}

}  // namespace

CudaGraphs::CudaGraphs(CudaStream& stream, Arena& arena) : stream_(stream), reserve_(arena) {
  if (!stream.is_first())
    throw Error("cuda: graphs were asked for on another stream than the back end's first, whose order memory follows");
}

CudaGraphs::~CudaGraphs() {
  for (auto& [number, shape] : shapes_)
    if (shape.recorded) check_or_log(cudaGraphExecDestroy(shape.recorded), "destroy a recording");
}

void CudaGraphs::run(std::int64_t number, const std::function<void()>& work) {
  Shape& shape = shapes_[number];
  if (shape.recorded || (shape.ran && record(shape, work))) {
    const DeviceGuard guard(stream_.device());
    stream_.replay(shape.recorded, shape.checks_ids);
    return;
  }
  const ArenaReserve::Use use(reserve_, true);
  work();
  shape.ran = true;
}

bool CudaGraphs::record(Shape& shape, const std::function<void()>& work) {
  const DeviceGuard guard(stream_.device());
  stream_.begin_recording();
  try {
    const ArenaReserve::Use use(reserve_, false);
    work();
  } catch (const ArenaReserve::UsedUp&) {
    destroy(stream_.end_recording().graph);
    return false;
  } catch (...) {
    destroy(stream_.end_recording().graph);
    throw;
  }
  CudaStream::Recording recording = stream_.end_recording();
  if (!recording.graph)
    fail("record a stream", "the work did what cannot be recorded", std::source_location::current());
  const cudaError_t status = cudaGraphInstantiate(&shape.recorded, recording.graph, 0);
  destroy(recording.graph);
  if (status != cudaSuccess) shape.recorded = nullptr;
  check(status, "make a recording ready");
  shape.checks_ids = recording.checks_ids;
  shape.scratch = std::move(recording.scratch);
  return true;
}

}  // namespace athanor::cuda
