#include "jobs/trained_model.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "parallel/data/owned_slices.hpp"
#include "src/base/error.hpp"

namespace athanor {

SchedulePlan schedule_of(const ParallelOptions& options) {
  return schedule_plan(options.schedule, static_cast<int>(options.virtual_chunks), options.schedule_file);
}

std::unique_ptr<MeshModel> make_model(Backend& ops, const JobOptions& options, ProcessMesh& mesh, Stream& stream,
                                      std::map<std::string, ExpertPlacement> placements) {
  auto model = std::make_unique<MeshModel>(
      ops, mesh,
      MeshModelOptions{.config = options.model,
                       .dtype = options.run.dtype,
                       .chunk_rank = schedule_of(options.parallel).chunk_rank(mesh.size(Axis::pp)),
                       .layer_split = parse_layer_split(options.parallel.layer_split),
                       .placements = std::move(placements),
                       .ranks_per_node = options.parallel.ranks_per_node},
      stream);
  if (!model->warning().empty() && mesh.coord(Axis::world) == 0) spdlog::warn("{}", model->warning());
  return model;
}

const std::string& saved_value(const std::map<std::string, std::string>& values, const std::string& name,
                               std::string_view kind) {
  const auto found = values.find(name);
  if (found == values.end())
    throw DataError(fmt::format("checkpoint: its run state has no '{}'; it is not one of {}", name, kind));
  return found->second;
}

TrainedModel::TrainedModel(Environment& env, const JobOptions& options) {
  ProcessMesh& mesh = *env.mesh;
  model = make_model(*env.ops, options, mesh, *env.compute);
  store = std::make_unique<ParameterStore>(*env.ops, model->parameters(),
                                           ParameterStore::Options{.pad_elements = ReductionRanks(mesh).bucket_pad()},
                                           *env.compute);
  step = std::make_unique<TrainStep>(*env.ops, model->chunks(), *store, mesh, options.optimizer, options.run.dtype,
                                     *env.compute, *env.comm, schedule_of(options.parallel), options.model.dim,
                                     options.parallel.recompute);
  step->set_diagnose([model = model.get()](ExecContext& ctx) { return model->first_nonfinite(ctx); });
}

void TrainedModel::initialize(std::uint64_t seed, Stream& stream) {
  store->initialize(seed, stream);
  step->start();
}

std::vector<NamedShard> TrainedModel::weight_shards() const {
  auto shards = athanor::weight_shards(*store);
  for (NamedShard& state : state_shards(model->states(), false)) shards.push_back(std::move(state));
  return shards;
}

}  // namespace athanor
