// What the attention operations share: which arithmetic a call uses, and the independent stretches of queries and
// keys.
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

/// Queries that see keys of no other stretch, and these keys: rows [query_begin, query_end) and [key_begin, key_end).
struct Stretch {
  std::int64_t query_begin, query_end, key_begin, key_end;
};

/// The stretches of a call. Tiles are cut from their borders, so a sequence has the same bits alone and in a batch.
/// @param key_end_T  null: t + 1.
inline void find_stretches(const std::int32_t* key_begin_T, const std::int32_t* key_end_T, std::int64_t queries,
                           std::vector<Stretch>& stretches) {
  stretches.clear();
  for (std::int64_t t = 0; t < queries; ++t) {
    const std::int64_t end = key_end_T ? key_end_T[t] : t + 1;
    if (stretches.empty() || key_begin_T[t] >= stretches.back().key_end)
      stretches.push_back({t, t, key_begin_T[t], end});
    stretches.back().query_end = t + 1;
    stretches.back().key_end = end;
  }
}

/// Shapes and types of the training operations. @throws Error naming what does not fit.

}  // namespace athanor::cpu::attention
