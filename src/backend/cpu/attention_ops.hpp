// What the attention operations share: which arithmetic a call uses, and the independent stretches of tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "src/backend/backend.hpp"
#include "src/backend/cpu/attention_units.hpp"

namespace athanor::cpu::attention {

/// Calls f(P{}) with the arithmetic of a call: bf16 goes in pairs where the machine has the dot product and heads are
/// of even width, else widened.
template <class F>
void dispatch_units(DType dtype, [[maybe_unused]] const AttentionArgs& args, std::string_view op, F&& f) {
  dispatch_floating(dtype, op, [&](auto type) {
    using T = decltype(type);
    if constexpr (std::is_same_v<T, bf16>) {
#ifdef __AVX512BF16__
      if (args.qk_dim % 2 == 0 && args.v_dim % 2 == 0) return f(PairUnits{});
#endif
      return f(WidenedUnits{});
    } else {
      return f(PlainUnits<T>{});
    }
  });
}

/// First tokens of the stretches that see nothing outside themselves, then the number of tokens. Tiles are cut from
/// these borders, so a sequence has the same bits alone and in a batch.
inline void find_stretches(const std::int32_t* key_begin_T, std::int64_t tokens, std::vector<std::int64_t>& borders) {
  borders.clear();
  for (std::int64_t t = 0; t < tokens; ++t)
    if (t == 0 || key_begin_T[t] == t) borders.push_back(t);
  borders.push_back(tokens);
}

/// Shapes and types of the training operations. @throws Error naming what does not fit.
void require_attention(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                       const Tensor& lse_TH, const Tensor& key_begin_T, const AttentionArgs& args);

}  // namespace athanor::cpu::attention
