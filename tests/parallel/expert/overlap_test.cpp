// Rows travel to their experts and back beside the shared expert. On the guarded device a stream runs only when another
// waits for it, so the order in which work ran tells what waited for what.
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/measured_communicator.hpp"
#include "src/base/span_recorder.hpp"
#include "tests/parallel/expert/expert_bench.hpp"

namespace athanor {
namespace {

using testing::kDim;
using testing::MoeBench;
using testing::RankBench;

class Overlap : public ::testing::TestWithParam<int> {
 protected:
  /// Spans of a stream, by name; those of messages with rows of tokens among them.
  static std::vector<const RecordedSpan*> ran(const SpanRecording& recording, const std::string& row,
                                              const std::string& name) {
    std::vector<const RecordedSpan*> found;
    for (const RecordedSpan& span : recording.spans)
      if (recording.rows[static_cast<std::size_t>(span.row)] == row && span.name == name) found.push_back(&span);
    return found;
  }

  static void expect_beside(const SpanRecording& recording, const std::string& beside, std::size_t messages) {
    const auto expert = ran(recording, "layers", beside);
    const auto rows = ran(recording, "travel", "all_to_all_v");
    ASSERT_EQ(expert.size(), 1U) << beside;
    ASSERT_GE(rows.size(), messages);
    // Had the layers waited for the first journey before, it would have run first.
    EXPECT_LE(expert[0]->ended, rows[0]->began) << beside;
  }
};

// Promise: the layers wait for rows on their way behind the shared expert, in all four directions and with one hop and
// with two, and for gradients on their way back behind the experts' weight gradients too.
TEST_P(Overlap, SharedExpertDoesNotWaitForRows) {
  RankBench bench("cpu-guarded");
  CommunicationTime time;
  MeasuredCommunicator comm(bench.comm, time, nullptr, "ep");
  AllToAllDispatcher dispatcher(comm, bench.nodes(GetParam()), bench.contiguous(), *bench.ops, *bench.travel);
  MoeBench layer(bench, dispatcher);
  const Tensor x_TD =
      bench.tensor(bench.random_rows(bench.first_token(), bench.tokens(), kDim, 1), {bench.tokens(), kDim});
  bench.stream->synchronize();

  SpanRecorder recorder;
  recorder.name_stream(bench.stream.get(), "layers");
  recorder.name_stream(bench.travel.get(), "travel");
  const auto record = [&](const auto& phase) {
    recorder.start();
    phase();
    bench.stream->synchronize();
    return recorder.stop();
  };
  const std::size_t hops = dispatcher.nodes().has_two_levels() ? 2 : 1;

  expect_beside(record([&] { layer.moe.dispatch(bench.training, x_TD, layer.saved); }), "shared expert inner", 3);
  layer.moe.experts(bench.training, layer.saved);
  Tensor y_TD;
  expect_beside(record([&] { y_TD = layer.moe.combine(bench.training, layer.saved); }), "shared expert outer", hops);
  expect_beside(record([&] { layer.moe.combine_backward(bench.training, y_TD, layer.saved); }),
                "shared expert outer backward", 1);
  layer.moe.experts_backward(bench.training, layer.saved);
  ExecContext at_once = bench.training;
  at_once.weights_at_once = true;
  const SpanRecording last = record([&] { layer.moe.dispatch_backward(at_once, layer.saved); });
  expect_beside(last, "shared expert inner backward", 2 * hops);
  expect_beside(last, "expert weight gradients", 2 * hops);
}

INSTANTIATE_TEST_SUITE_P(RanksPerNode, Overlap, ::testing::Values(0, 2));

}  // namespace
}  // namespace athanor
