// Keys and values of multi-head latent attention from the up-projected latent and the shared rotary key.
// Source: DeepSeek-V3 report eq. 3-5. Legend: T tokens, H heads, n no-position width, r rotary width, v value width.
#include "src/backend/cuda/call.hpp"
#include "src/backend/cuda/cuda_backend.hpp"
#include "src/backend/cuda/rope_kernels.cuh"

namespace athanor::cuda {
void CudaBackend::mla_assemble_kv(Tensor k, Tensor v, const Tensor& kv, const Tensor& k_pe, std::int64_t num_heads,
                                  Stream& stream) {
  const MlaWidths w = mla_widths("mla_assemble_kv", k, v, kv, k_pe, num_heads);
  const Call call("mla_assemble_kv", stream, {k, v, kv, k_pe});
  call.check(launch_mla_assemble_kv(raw(k), raw(v), raw(kv), raw(k_pe), kv.dtype(), w, call.stream()));
}

void CudaBackend::mla_assemble_kv_backward(Tensor dkv, Tensor dk_pe, const Tensor& dk, const Tensor& dv,
                                           std::int64_t num_heads, Stream& stream) {
  const MlaWidths w = mla_widths("mla_assemble_kv_backward", dk, dv, dkv, dk_pe, num_heads);
  const Call call("mla_assemble_kv_backward", stream, {dkv, dk_pe, dk, dv});
  call.check(launch_mla_assemble_kv_backward(raw(dkv), raw(dk_pe), raw(dk), raw(dv), dkv.dtype(), w, call.stream()));
}

}  // namespace athanor::cuda
