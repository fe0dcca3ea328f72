// athanor inspect FOLDER | --config FILE
#include <fmt/format.h>

#include <map>

#include "io/checkpoint/checkpoint_reader.hpp"
#include "io/options/configuration.hpp"
#include "io/options/invocation.hpp"
#include "jobs/commands/commands.hpp"
#include "jobs/initial_weights.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/model/flop_count.hpp"
#include "src/model/kv_cache.hpp"
#include "src/model/parameter_count.hpp"

namespace athanor {
namespace {

void show_model(const ModelConfig& model) {
  model.validate();
  const ParameterCount count = parameter_count(model);
  const std::int64_t length = model.max_positions;
  fmt::print("parameters                      {:>20}\n", count.total);
  fmt::print("  activated a token             {:>20}\n", count.activated);
  fmt::print("  the same without embedding    {:>20}\n", count.activated_without_embedding);
  if (model.mtp_depth > 0) fmt::print("MTP modules, apart              {:>20}\n", count.mtp);
  fmt::print("training GFLOP a token, 4096    {:>20.3f}\n",
             training_flops_per_token(model, std::min<std::int64_t>(4096, length)) * 1e-9);
  fmt::print("cache numbers a token and layer {:>20}\n", KvCache::numbers_per_token(model));
}

void show_checkpoint(const std::filesystem::path& path, bool verify, bool list_tensors) {
  const CheckpointReader reader(find_checkpoint(path));
  const RunState& state = reader.state();
  fmt::print("{}\nstage {}, step {}, {} tokens, seed {}, written by: {}\n", reader.folder().string(), state.stage,
             state.step, state.tokens, state.seed, state.layout_text);
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> kinds;  // tensors, bytes
  for (const auto& [name, tensor] : reader.tensors()) {
    auto& kind = kinds[name.substr(0, name.find_last_of('/') == std::string::npos ? 0 : name.find_last_of('/'))];
    kind.first += 1;
    kind.second += tensor.bytes();
    if (list_tensors) fmt::print("  {:<60} {:<5} {}\n", name, to_string(tensor.dtype), tensor.global.to_string());
  }
  for (const auto& [kind, count] : kinds)
    fmt::print("{:<24} {:>6} tensors {:>12.3f} MB\n", kind, count.first, static_cast<double>(count.second) * 1e-6);
  for (const ManifestFile& file : reader.manifest().files)
    fmt::print("{}  {} bytes, {} pieces\n", file.name, file.size, file.pieces.size());
  // Equal hashes: the same pieces with the same bytes, of the same tensors at the same places.
  std::string content;
  for (const ManifestFile& file : reader.manifest().files)
    for (const ManifestPiece& piece : file.pieces)
      content +=
          piece.spec.name + piece.spec.offset.to_string() + piece.spec.extent.to_string() + piece.checksum + "\n";
  fmt::print("content hash {:016x}\n", stable_hash(content));
  if (!verify) return;
  const auto bad = reader.verify_all();
  for (const std::string& message : bad) fmt::print("{}\n", message);
  if (!bad.empty()) throw DataError(fmt::format("{} of its pieces are damaged", bad.size()));
  fmt::print("every checksum agrees\n");
}

}  // namespace

int inspect_command(const std::vector<std::string>& words, HostGroup& world) {
  std::string checkpoint;
  bool verify = false, tensors = false;
  ModelConfig shown;
  OptionTable own, model;
  describe(model, shown);
  own.section("", "inspect");
  own.add("checkpoint", checkpoint, "FOLDER", "a checkpoint, a stage or a run folder (also the first word)");
  own.add("verify", verify, "read everything and compare the checksums");
  own.add("tensors", tensors, "list every tensor");
  const Invocation invocation = parse_invocation(words, {{&own, &model}, "checkpoint"});
  if (invocation.help) {
    if (world.rank() == 0)
      fmt::print(
          "athanor inspect FOLDER [--verify=true]\nathanor inspect --config FILE   (parameters of a model, nothing is "
          "allocated)\n\n{}",
          own.help() + "\n" + model.help());
    return kExitComplete;
  }
  const Configuration configuration(invocation.assignments, own);
  configuration.apply(own);
  if (world.rank() != 0) return kExitComplete;
  if (!checkpoint.empty())
    show_checkpoint(checkpoint, verify, tensors);
  else if (!invocation.config_files.empty())
    show_model(configuration.job().model);
  else
    throw ConfigError("inspect: give a checkpoint folder, or --config FILE with a model");
  return kExitComplete;
}

}  // namespace athanor
