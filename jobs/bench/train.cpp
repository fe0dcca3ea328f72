#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>

#include <array>
#include <string>

#include "jobs/bench/bench.hpp"
#include "jobs/bench/random_training.hpp"
#include "jobs/layout_question.hpp"
#include "jobs/machine_ceiling.hpp"
#include "src/model/flop_count.hpp"

namespace athanor {

namespace {

constexpr std::array<Axis, 7> kMeasuredAxes = {Axis::tp,   Axis::cp,    Axis::ep, Axis::pp,
                                               Axis::data, Axis::layer, Axis::edp};

std::array<double, kMeasuredAxes.size()> communication_seconds(const ProcessMesh& mesh) {
  std::array<double, kMeasuredAxes.size()> seconds{};
  for (std::size_t i = 0; i < seconds.size(); ++i) seconds[i] = mesh.time(kMeasuredAxes[i]).seconds;
  return seconds;
}

/// {"tp": share of the time of the slowest rank, ...} of the axes that sent anything, and their sum.
std::string communication_shares(const ProcessMesh& mesh, const std::array<double, kMeasuredAxes.size()>& before,
                                 double seconds, HostGroup& world) {
  std::string text;
  double own = 0.0;
  const auto after = communication_seconds(mesh);
  for (std::size_t i = 0; i < after.size(); ++i) {
    own += after[i] - before[i];
    const double share = world.max(after[i] - before[i]) / seconds;
    if (mesh.size(kMeasuredAxes[i]) > 1)
      text += fmt::format("{}\"{}\":{:.3f}", text.empty() ? "" : ",", to_string(kMeasuredAxes[i]), share);
  }
  return fmt::format("\"communication_share\":{:.3f},\"communication_share_of\":{{{}}}", world.max(own) / seconds,
                     text);
}

}  // namespace

void bench_train(const BenchOptions& bench, const JobOptions& options, HostGroup& world) {
  Environment env(options, world);
  const auto peak_own = measure_gemm_peak(*env.ops, options.run.dtype, *env.compute);
  const double peak = world.sum(peak_own), peak_f32 = world.sum(measure_gemm_peak(*env.ops, DType::f32, *env.compute));
  const double copy = world.sum(measure_copy_bandwidth(*env.ops, *env.compute));

  RandomTraining training(options, env);
  for (int i = 0; i < 2; ++i) training.step();
  env.ops->arena().reset_peak();
  world.barrier();
  const auto before = communication_seconds(*env.mesh);
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < bench.steps; ++i) training.step();
  world.barrier();
  const double seconds = seconds_since(begin) / static_cast<double>(bench.steps);
  const std::string communication =
      communication_shares(*env.mesh, before, seconds * static_cast<double>(bench.steps), world);
  const auto tokens = static_cast<double>(training.tokens_per_step());
  const double flops = tokens * training_flops_per_token(options.model, options.data.sequence_length) / seconds;
  const LayoutPlan plan = plan_layout(layout_question(options, world.size()));
  const auto estimate =
      static_cast<double>(plan.pipeline[static_cast<std::size_t>(env.mesh->coord(Axis::pp))].total_bytes());
  const auto tensor_peak = static_cast<double>(env.ops->arena().statistics().peak_in_use_bytes);
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  if (world.rank() != 0) return;
  fmt::print(
      "{{\"bench\":\"train\",\"parameters\":{},\"dtype\":\"{}\",\"fp8\":{},\"ranks\":{},\"threads\":{},\"tokens_per_"
      "step\":{},\"step_seconds\":{:."
      "4f},\"tokens_per_second\":{:.0f},\"model_gflops\":{:.1f},\"gemm_peak_gflops\":{:.1f},\"gemm_peak_f32_gflops\":{:"
      ".1f},\"share_of_peak\":{:.3f},\"share_of_f32_peak\":{:.3f},\"copy_gb_per_second\":{:.1f},\"tensor_peak_mb\":{:."
      "1f},\"tensor_peak_estimate_mb\":{:.1f},\"tensor_peak_over_estimate\":{:.3f},\"resident_peak_mb\":{:.1f},{}}}\n",
      plan.parameters + plan.mtp_parameters, to_string(options.run.dtype), options.model.fp8, world.size(),
      omp_get_max_threads(), training.tokens_per_step(), seconds, tokens / seconds, flops * 1e-9, peak * 1e-9,
      peak_f32 * 1e-9, flops / peak, flops / peak_f32, copy * 1e-9, tensor_peak * 1e-6, estimate * 1e-6,
      tensor_peak / estimate, static_cast<double>(usage.ru_maxrss) * 1024e-6, communication);
}

}  // namespace athanor
