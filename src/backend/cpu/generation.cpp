// What keeps a loop over sampled tokens on the device: where they go in a cache, how they are drawn, what they end.
// Some hundred rows with a few numbers each: one thread.
#include <algorithm>
#include <string>

#include "src/backend/cpu/cpu_backend.hpp"
#include "src/backend/cpu/kernel.hpp"
#include "src/backend/cpu/row_ids.hpp"
#include "src/base/sampling_key.hpp"

namespace athanor {

using cpu::data;

void CpuBackend::cache_rows(Tensor rows_R, const Tensor& pages_SP, const Tensor& slots_R, const Tensor& positions_R,
                            const Tensor& lengths_R, std::int64_t page_rows, Stream& stream) {
  require_cache_rows("cache_rows", rows_R, pages_SP, slots_R, positions_R, lengths_R, page_rows);
  run_on(stream, [=] {
    const std::int64_t rows = rows_R.numel(), pages_per_slot = pages_SP.dim(1);
    const auto *pages = data<std::int32_t>(pages_SP), *slots = data<std::int32_t>(slots_R);
    const auto *positions = data<std::int32_t>(positions_R), *lengths = data<std::int32_t>(lengths_R);
    cpu::require_ids("cache_rows: slots", slots, rows, pages_SP.dim(0));
    cpu::require_ids("cache_rows: positions", positions, rows, pages_per_slot * page_rows);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int32_t page = pages[slots[r] * pages_per_slot + positions[r] / page_rows];
      data<std::int32_t>(rows_R)[r] =
          lengths[r] == 0 ? -1 : static_cast<std::int32_t>(page * page_rows + positions[r] % page_rows);
    }
  });
}

void CpuBackend::sampling_keys(Tensor keys_R, const Tensor& prompts_R, const Tensor& siblings_R, const Tensor& counts_R,
                               Stream& stream) {
  require_sampling_keys("sampling_keys", keys_R, prompts_R, siblings_R, counts_R);
  run_on(stream, [=] {
    const auto* prompts = data<std::int64_t>(prompts_R);
    const auto *siblings = data<std::int32_t>(siblings_R), *counts = data<std::int32_t>(counts_R);
    for (std::int64_t r = 0; r < keys_R.numel(); ++r)
      data<std::int64_t>(keys_R)[r] = sampling_key(prompts[r], siblings[r], counts[r]);
  });
}

void CpuBackend::advance_rows(const WrittenRows& rows, Tensor tokens_NR, Tensor logprobs_NR, Tensor step_1,
                              const Tensor& ids_R, const Tensor& logprobs_R, const Tensor& stop_ids_S,
                              std::int64_t most_tokens, Stream& stream) {
  require_advance_rows("advance_rows", rows, tokens_NR, logprobs_NR, step_1, ids_R, logprobs_R, stop_ids_S);
  cpu::dispatch_acc(logprobs_R.dtype(), "advance_rows", [&](auto type) {
    using Acc = decltype(type);
    run_on(stream, [=] {
      const std::int64_t count = ids_R.numel();
      auto& step = data<std::int32_t>(step_1)[0];
      cpu::require_ids("advance_rows: step", &step, 1, tokens_NR.dim(0));
      const auto* ids = data<std::int32_t>(ids_R);
      const auto* stops = stop_ids_S.defined() ? data<std::int32_t>(stop_ids_S) : nullptr;
      const auto* stops_end = stops ? stops + stop_ids_S.numel() : nullptr;
      auto* tokens = data<std::int32_t>(tokens_NR) + step * count;
      Acc* logprobs = data<Acc>(logprobs_NR) + step * count;
      for (std::int64_t r = 0; r < count; ++r) {
        auto& length = data<std::int32_t>(rows.lengths_R)[r];
        const bool ended = length == 0;
        tokens[r] = ended ? -1 : ids[r];
        logprobs[r] = ended ? Acc{0} : data<Acc>(logprobs_R)[r];
        if (ended) continue;
        data<std::int32_t>(rows.tokens_R)[r] = ids[r];
        ++data<std::int32_t>(rows.positions_R)[r];
        const std::int32_t written = ++data<std::int32_t>(rows.counts_R)[r];
        const bool ends = written >= most_tokens || std::find(stops, stops_end, ids[r]) != stops_end;
        length = ends ? 0 : length + 1;
      }
      ++step;
    });
  });
}

}  // namespace athanor
