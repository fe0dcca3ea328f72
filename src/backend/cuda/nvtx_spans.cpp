#include "src/backend/cuda/nvtx_spans.hpp"

#include <fmt/format.h>
#include <nvtx3/nvToolsExt.h>

#include <array>
#include <cstdlib>

#include "src/base/span.hpp"

namespace athanor::cuda {
namespace {

/// The profiler measures streams itself: a range is the host's time, by which it finds the kernels enqueued in it.
class NvtxRanges final : public SpanWatcher {
 public:
  void begin(const SpanInfo& span) noexcept override {
    std::array<char, 128> text;
    const auto last = text.end() - 1;
    const auto put = [&](char* at, auto format, const auto&... values) {
      return fmt::format_to_n(at, last - at, format, values...).out;
    };
    char* at = put(text.begin(), FMT_STRING("{}"), span.name);
    if (!span.of.empty()) at = put(at, FMT_STRING(" {}"), span.of);
    for (std::size_t i = 0; i < span.num_numbers; ++i)
      at = put(at, FMT_STRING(" {}={}"), span.numbers[i].name, span.numbers[i].value);
    *at = '\0';
    nvtxRangePushA(text.data());
  }
  void end(const SpanInfo&, Clock::time_point) noexcept override { nvtxRangePop(); }
  void ran(const SpanInfo&, const void*, Clock::time_point, Clock::time_point) noexcept override {}
};

}  // namespace

void show_spans_to_profiler() {
  if (std::getenv("NVTX_INJECTION64_PATH") == nullptr) return;
  static NvtxRanges ranges;  // spans of other threads may end when main has returned
  spans::set_watcher(spans::Seat::profiler, &ranges);
}

}  // namespace athanor::cuda
