#include "src/backend/cuda/cuda_backend.hpp"

#include <unordered_map>

#include "src/backend/cuda/attention.hpp"
#include "src/backend/cuda/cuda_arena.hpp"
#include "src/backend/cuda/cuda_device.hpp"
#include "src/backend/cuda/cuda_graphs.hpp"
#include "src/backend/cuda/cuda_stream.hpp"
#include "src/backend/cuda/fp8.hpp"
#include "src/backend/cuda/gemm.hpp"
#include "src/backend/cuda/grouped_gemm.hpp"
#include "src/backend/cuda/offer_devices.hpp"
#include "src/backend/cuda/per_head_gemm.hpp"
#include "src/backend/device_offer.hpp"
#include "src/base/error.hpp"

namespace athanor::cuda {

struct CudaBackend::State {
  explicit State(int number) : device(number), arena(number) {}

  int device;
  CudaArena arena;
  bool made_a_stream = false;
  std::unordered_map<const Stream*, MatrixProducts> products;  ///< of each stream: they have a workspace
};

CudaBackend::CudaBackend(int device) {
  std::string_view reason;
  const int count = device_count(&reason);
  if (device < 0 || device >= count)
    throw Error("cuda: wanted device " + std::to_string(device) + ", found " + std::to_string(count) +
                (count == 0 ? ": " + std::string(reason) : "") + "; choose another run.device");
  state_ = std::make_unique<State>(device);
}

CudaBackend::~CudaBackend() = default;

Device CudaBackend::device() const { return {Device::Kind::cuda, state_->device}; }

std::string CudaBackend::description() const { return description_of(state_->device); }

Arena& CudaBackend::arena() { return state_->arena; }

std::unique_ptr<Stream> CudaBackend::make_stream() {
  const bool first = !state_->made_a_stream;
  state_->made_a_stream = true;
  return std::make_unique<CudaStream>(state_->device, first);
}

std::unique_ptr<Event> CudaBackend::make_event() { return std::make_unique<CudaEvent>(state_->device); }

std::unique_ptr<Graphs> CudaBackend::make_graphs(Stream& stream) {
  return std::make_unique<CudaGraphs>(static_cast<CudaStream&>(stream), arena());
}

// ---- operations that have files of their own

void CudaBackend::gemm(Tensor c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                       bool accumulate, Stream& stream) {
  MatrixProducts& products = state_->products.try_emplace(&stream, state_->device).first->second;
  products.gemm(c, a, transpose_a, b, transpose_b, accumulate, rows_alike(), stream);
}

void CudaBackend::gemm_bias(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI, const Tensor& b_O, Stream& stream) {
  MatrixProducts& products = state_->products.try_emplace(&stream, state_->device).first->second;
  if (products.gemm_bias(y_TO, x_TI, w_OI, b_O, rows_alike(), stream)) return;
  gemm(y_TO, x_TI, Transpose::no, w_OI, Transpose::yes, false, stream);
  add_bias(y_TO, b_O, stream);
}

void CudaBackend::gemm_fp8(Tensor y_MN, const Fp8Matrix& a_MK, const Fp8Matrix& b_NK, bool accumulate, Stream& stream) {
  MatrixProducts& products = state_->products.try_emplace(&stream, state_->device).first->second;
  cuda::gemm_fp8(y_MN, a_MK, b_NK, accumulate, rows_alike(), products, stream);
}

void CudaBackend::grouped_gemm(Tensor y_RO, const Tensor& x_RI, const Tensor& w_EOI, const Tensor& offsets_E1,
                               Stream& stream) {
  cuda::grouped_gemm(y_RO, x_RI, w_EOI, offsets_E1, stream);
}

void CudaBackend::grouped_gemm_backward_input(Tensor dx_RI, const Tensor& dy_RO, const Tensor& w_EOI,
                                              const Tensor& offsets_E1, bool accumulate, Stream& stream) {
  cuda::grouped_gemm_backward_input(dx_RI, dy_RO, w_EOI, offsets_E1, accumulate, stream);
}

void CudaBackend::grouped_gemm_backward_weight(Tensor dw_EOI, const Tensor& dy_RO, const Tensor& x_RI,
                                               const Tensor& offsets_E1, Stream& stream) {
  cuda::grouped_gemm_backward_weight(dw_EOI, dy_RO, x_RI, offsets_E1, stream);
}

void CudaBackend::attention_forward(Tensor o, Tensor lse_TH, const Tensor& q, const Tensor& k, const Tensor& v,
                                    const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args,
                                    Stream& stream) {
  cuda::attention_forward(o, lse_TH, q, k, v, key_begin_T, key_end_T, args, rows_alike(), arena(), stream);
}

void CudaBackend::attention_backward(Tensor dq, Tensor dk, Tensor dv, const Tensor& d_o, const Tensor& q,
                                     const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse_TH,
                                     const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args,
                                     Stream& stream) {
  cuda::attention_backward(dq, dk, dv, d_o, q, k, v, o, lse_TH, key_begin_T, key_end_T, args, arena(), stream);
}

void CudaBackend::attention_cached(Tensor o, const Tensor& q, const Tensor& k_cache, const Tensor& v_cache,
                                   const Tensor& pages_SP, const Tensor& slots_R, const Tensor& lengths_R,
                                   std::int64_t page_rows, const AttentionArgs& args, Stream& stream) {
  cuda::attention_cached(o, q, k_cache, v_cache, pages_SP, slots_R, lengths_R, page_rows, args, arena(), stream);
}

void CudaBackend::per_head_gemm(Tensor y, const Tensor& x, const Tensor& w, std::int64_t num_heads, std::int64_t stride,
                                std::int64_t first, std::int64_t count, Transpose transpose, Stream& stream) {
  cuda::per_head_gemm(y, x, w, num_heads, stride, first, count, transpose, stream);
}

// ---- the registry

void offer_devices() {
  for (int device = 0; device < device_count(); ++device)
    offer_device(to_string(Device{Device::Kind::cuda, device}),
                 [device] { return std::make_unique<CudaBackend>(device); });
}

}  // namespace athanor::cuda
