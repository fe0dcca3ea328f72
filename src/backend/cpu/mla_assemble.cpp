// Keys and values of multi-head latent attention from the up-projected latent and the shared rotary key.
// Source: DeepSeek-V3 report eq. 3-5. Legend: T tokens, H heads, n no-position width, r rotary width, v value width.
#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"

namespace athanor {
namespace {

using cpu::data;
using cpu::parallel_rows;

}  // namespace

void CpuBackend::mla_assemble_kv(Tensor k, Tensor v, const Tensor& kv, const Tensor& k_pe, std::int64_t num_heads,
                                 Stream& stream) {
  const MlaWidths w = mla_widths("mla_assemble_kv", k, v, kv, k_pe, num_heads);
  cpu::dispatch_floating(kv.dtype(), "mla_assemble_kv", [&](auto type) {
    using T = decltype(type);
    run_on(stream, [=] {
      const std::int64_t key = w.nope + w.rope, both = w.nope + w.value;
      T* k_T = data<T>(k);
      T* v_T = data<T>(v);
      const T* kv_T = data<T>(kv);
      const T* k_pe_T = data<T>(k_pe);
      const auto row_bytes = static_cast<std::int64_t>(sizeof(T)) * w.heads * (both + key);
      parallel_rows(w.tokens, 16, row_bytes, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t)
          for (std::int64_t h = 0; h < w.heads; ++h) {
            const T* from = kv_T + (t * w.heads + h) * both;
            T* key_row = k_T + (t * w.heads + h) * key;
            std::copy_n(from, w.nope, key_row);
            std::copy_n(k_pe_T + t * w.rope, w.rope, key_row + w.nope);
            std::copy_n(from + w.nope, w.value, v_T + (t * w.heads + h) * w.value);
          }
      });
    });
  });
}

void CpuBackend::mla_assemble_kv_backward(Tensor dkv, Tensor dk_pe, const Tensor& dk, const Tensor& dv,
                                          std::int64_t num_heads, Stream& stream) {
  const MlaWidths w = mla_widths("mla_assemble_kv_backward", dk, dv, dkv, dk_pe, num_heads);
  cpu::dispatch_floating(dkv.dtype(), "mla_assemble_kv_backward", [&](auto type) {
    using T = decltype(type);
    using Acc = cpu::acc_t<T>;
    run_on(stream, [=] {
      const std::int64_t key = w.nope + w.rope, both = w.nope + w.value;
      T* dkv_T = data<T>(dkv);
      T* dk_pe_T = data<T>(dk_pe);
      const T* dk_T = data<T>(dk);
      const T* dv_T = data<T>(dv);
      const auto row_bytes = static_cast<std::int64_t>(sizeof(T)) * w.heads * (both + key);
      parallel_rows(w.tokens, 16, row_bytes, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
          for (std::int64_t h = 0; h < w.heads; ++h) {
            T* to = dkv_T + (t * w.heads + h) * both;
            std::copy_n(dk_T + (t * w.heads + h) * key, w.nope, to);
            std::copy_n(dv_T + (t * w.heads + h) * w.value, w.value, to + w.nope);
          }
          for (std::int64_t i = 0; i < w.rope; ++i) {
            Acc sum{};
            for (std::int64_t h = 0; h < w.heads; ++h) sum += cpu::load(dk_T[(t * w.heads + h) * key + w.nope + i]);
            dk_pe_T[t * w.rope + i] = cpu::store<T>(sum);
          }
        }
      });
    });
  });
}

}  // namespace athanor
