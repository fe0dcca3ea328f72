// One call of an operation: its operands and stream checked to be of one GPU, the device current, its tensors kept
// where the stream asks for it. Every operation makes one after it has checked shapes and before it launches kernels.
#pragma once

#include <initializer_list>
#include <string>

#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/backend/operand_checks.hpp"

namespace athanor::cuda {

/// A floating type. @throws Error naming the operation.
inline void require_floating(const char* op, const Tensor& tensor) {
  require(is_floating(tensor.dtype()), op, "f32, bf16 or f64", tensor);
}
/// f32 or f64.
inline void require_acc(const char* op, const Tensor& tensor) {
  require(tensor.dtype() == DType::f32 || tensor.dtype() == DType::f64, op, "f32 or f64", tensor);
}
/// One size and type.
inline void require_alike(const char* op, const Tensor& a, const Tensor& b) {
  require(a.numel() == b.numel() && a.dtype() == b.dtype(), op, "operands of one size and type", a, b);
}

class Call {
 public:
  /// @param tensors  all operands; undefined ones are passed over. @throws Error when one is not of the stream's GPU.
  Call(const char* op, Stream& stream, std::initializer_list<Tensor> tensors)
      : op_(op), stream_(static_cast<CudaStream&>(stream)), guard_(stream_.device()) {
    const Device device{Device::Kind::cuda, stream_.device()};
    for (const Tensor& tensor : tensors) {
      if (!tensor.defined()) continue;
      if (tensor.device() != device)
        throw Error(std::string(op) + ": wanted a tensor on " + athanor::to_string(device) + ", found " +
                    tensor.to_string());
      keep(tensor);
    }
  }

  /// Memory beside the operands that the call's kernels use.
  void keep(const Tensor& tensor) const {
    if (!stream_.is_first()) stream_.keep(tensor);
  }
  int device() const { return stream_.device(); }
  cudaStream_t stream() const { return stream_.handle(); }
  void check(cudaError_t status) const { cuda::check(status, op_); }
  IdCheck ids(std::int64_t limit, std::int64_t lowest = 0) const { return ids(op_, limit, lowest); }
  IdCheck ids(const char* what, std::int64_t limit, std::int64_t lowest = 0) const {
    return stream_.id_check(what, lowest, limit);
  }
  /// `count` elements of scratch memory; one request a call.
  template <class T>
  T* scratch(Arena& arena, std::int64_t count) const {
    return reinterpret_cast<T*>(stream_.scratch(arena, static_cast<std::size_t>(count) * sizeof(T)));
  }

 private:
  const char* op_;
  CudaStream& stream_;
  DeviceGuard guard_;
};

/// Typed elements of an operand, for launchers; null where it is undefined.
template <class T>
T* data(const Tensor& tensor) {
  return tensor.defined() ? reinterpret_cast<T*>(tensor.unsafe_data()) : nullptr;
}
inline void* raw(const Tensor& tensor) { return tensor.defined() ? tensor.unsafe_data() : nullptr; }

}  // namespace athanor::cuda
