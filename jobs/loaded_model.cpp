#include "jobs/loaded_model.hpp"

#include <unistd.h>

#include <fstream>

#include "io/checkpoint/checkpoint_reader.hpp"
#include "io/checkpoint/load_checkpoint.hpp"
#include "io/options/configuration.hpp"
#include "jobs/initial_weights.hpp"
#include "jobs/run_tokenizer.hpp"
#include "jobs/trained_model.hpp"
#include "parallel/data/zero_optimizer.hpp"
#include "src/base/error.hpp"

namespace athanor {

JobOptions options_of_checkpoint(const RunState& state) {
  // The options are read from files only, so the text becomes one for a moment.
  const auto file = std::filesystem::temp_directory_path() / ("athanor_config_" + std::to_string(::getpid()) + ".cfg");
  std::ofstream(file) << state.config_text;
  int next_source = 0;
  std::vector<Assignment> assignments;
  try {
    assignments = read_config_file(file, next_source);
  } catch (...) {
    std::filesystem::remove(file);
    throw;
  }
  std::filesystem::remove(file);
  return Configuration(std::move(assignments), OptionTable{}).job(state.stage);
}

JobOptions options_of_checkpoint(const std::filesystem::path& checkpoint) {
  JobOptions options = options_of_checkpoint(CheckpointReader(checkpoint).state());
  options.data.tokenizer = tokenizer_of_checkpoint(options.data.tokenizer, checkpoint);
  return options;
}

LoadedModel::LoadedModel(const std::filesystem::path& path, const RunOptions& run, const ParallelOptions& parallel,
                         HostGroup& world, std::map<std::string, ExpertPlacement> placements)
    : checkpoint(find_checkpoint(path)) {
  options = options_of_checkpoint(checkpoint);
  options.run.device = run.device;
  options.run.dtype = run.dtype;
  options.run.threads = run.threads;
  options.parallel = parallel;
  environment = std::make_unique<Environment>(options, world);
  tokenizer = load_tokenizer(options.data.tokenizer);
  model = make_model(*environment->ops, options, *environment->mesh, *environment->compute, std::move(placements));
  store = std::make_unique<ParameterStore>(*environment->ops, model->parameters(),
                                           ParameterStore::Options{.with_gradients = false}, *environment->compute);
  auto shards = weight_shards(*store);
  for (NamedShard& state : state_shards(model->states(), false)) shards.push_back(std::move(state));
  load_checkpoint(checkpoint, world, shards, *environment->ops, *environment->compute, {.convert_floats = true});
}

}  // namespace athanor
