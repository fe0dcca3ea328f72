// Attention on CUDA tensors, in the shape of Backend's operations (backend.hpp says what each means). Laws: workspace
// comes from the arena and goes back when the call returns, which is right for work that follows on the same stream;
// the host waits for nothing. `stream` must be a CudaStream of the tensors' device.
#pragma once

#include <cstdint>

#include "src/backend/backend.hpp"

namespace athanor::cuda {

/// @param as_cached  with the bits of attention_cached; else bf16 may run on Hopper's own kernels, which have others.
/// @throws Error also where heads are wider than the kernels hold: bf16 Q, V <= 256; f32, f64 what fits into 227 KiB.
void attention_forward(Tensor o, Tensor lse_TH, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& key_begin_T, const Tensor& key_end_T, const AttentionArgs& args, bool as_cached,
                       Arena& arena, Stream& stream);
void attention_backward(Tensor dq, Tensor dk, Tensor dv, const Tensor& d_o, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& o, const Tensor& lse_TH, const Tensor& key_begin_T,
                        const Tensor& key_end_T, const AttentionArgs& args, Arena& arena, Stream& stream);
/// Without v_cache bf16 heads may be as wide as 576 with values of 512.
void attention_cached(Tensor o, const Tensor& q, const Tensor& k_cache, const Tensor& v_cache, const Tensor& pages_SP,
                      const Tensor& slots_R, const Tensor& lengths_R, std::int64_t page_rows, const AttentionArgs& args,
                      Arena& arena, Stream& stream);

}  // namespace athanor::cuda
