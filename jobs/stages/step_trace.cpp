#include "jobs/stages/step_trace.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "parallel/agreement.hpp"

namespace athanor {

StepTrace::StepTrace(const std::string& steps, std::filesystem::path folder, Environment& env, HostGroup& world)
    : steps_(parse_step_range(steps, "run.trace_step")),
      folder_(std::move(folder) / "traces"),
      env_(env),
      world_(world) {
  recorder_.name_stream(env.compute.get(), "compute stream");
  recorder_.name_stream(env.comm.get(), "communication stream");
}

void StepTrace::before(std::int64_t next) {
  if (steps_.any() && !written_ && !recorder_.is_recording() && next >= steps_.first && next <= steps_.last)
    recorder_.start();
}

void StepTrace::after(std::int64_t done) {
  if (recorder_.is_recording() && done >= steps_.last) write();
}

void StepTrace::finish(std::int64_t done) {
  if (recorder_.is_recording()) write();
  if (steps_.any() && done < steps_.first)
    spdlog::warn("run.trace_step = {}: the last step was {}, nothing is traced", steps_.first, done);
}

void StepTrace::write() {
  written_ = true;
  // What streams still have to run belongs to the trace.
  env_.compute->synchronize();
  env_.comm->synchronize();
  const SpanRecording recording = recorder_.stop();
  const std::string name = steps_.first == steps_.last ? fmt::format("step_{}", steps_.first)
                                                       : fmt::format("steps_{}-{}", steps_.first, steps_.last);
  TraceRank rank{world_.rank(), "", measure_clock_offset(world_)};
  rank.name = fmt::format("rank {} {}", rank.rank, world_.host_name());
  for (const Axis axis : {Axis::pp, Axis::dp, Axis::cp, Axis::tp, Axis::ep})
    if (env_.mesh->size(axis) > 1) rank.name += fmt::format(" {}{}", to_string(axis), env_.mesh->coord(axis));
  // The first thing that any rank did is at 0.
  double first = monotonic_seconds();
  for (const RecordedSpan& span : recording.spans)
    first = std::min(first, std::chrono::duration<double>(span.began.time_since_epoch()).count());
  const double zero = -world_.max(-(first + rank.clock.seconds));
  const auto part_of = [&](int of) { return folder_ / name / fmt::format("rank_{:05}.json", of); };
  attempt_together(world_, [&] {
    std::filesystem::create_directories(folder_ / name);
    write_chrome_trace(part_of(rank.rank), recording, rank, zero);
  }).raise();
  const double error = world_.max(rank.clock.error);
  on_first_rank(world_, [&] {
    std::vector<std::filesystem::path> parts;
    for (int of = 0; of < world_.size(); ++of) parts.push_back(part_of(of));
    join_chrome_traces(folder_ / (name + ".json"), parts);
  });
  spdlog::info("trace: {} (open it in https://ui.perfetto.dev or chrome://tracing); clocks agree to {:.0f} us",
               (folder_ / (name + ".json")).string(), 1e6 * error);
}

}  // namespace athanor
