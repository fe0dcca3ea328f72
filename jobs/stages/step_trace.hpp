// The trace of chosen steps of a stage (run.trace_step): what every rank did in them, when, on one time axis.
//   STAGE/traces/step_5.json        all ranks
//   STAGE/traces/step_5/rank_00000.json ...
// Law: recording begins before the first of the steps and ends behind the last, what stands between them (measuring,
// saving) included; nothing is recorded else. A run that stops within them leaves what it has.
#pragma once

#include <filesystem>
#include <string>

#include "io/trace/chrome_trace.hpp"
#include "jobs/environment.hpp"

namespace athanor {

class StepTrace {
 public:
  /// @param folder  of the stage.   Everything must outlive this. @throws ConfigError when `steps` are none.
  StepTrace(const std::string& steps, std::filesystem::path folder, Environment& env, HostGroup& world);

  /// What follows belongs to step `next`.
  void before(std::int64_t next);
  /// Steps up to `done` are over. Collective.
  void after(std::int64_t done);
  /// No step follows. Collective. Warns where nothing was recorded that a run from its first step would have.
  void finish(std::int64_t done);

 private:
  void write();

  StepRange steps_;
  std::filesystem::path folder_;
  Environment& env_;
  HostGroup& world_;
  bool written_ = false;
  SpanRecorder recorder_;
};

}  // namespace athanor
