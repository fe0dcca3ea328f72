#include "io/checkpoint/load_checkpoint.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "io/checkpoint/checkpoint_folder.hpp"
#include "parallel/agreement.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace athanor {
namespace {

/// "model" of "model/layers.3.attention.w_o".
std::string kind_of(const std::string& tensor) { return tensor.substr(0, tensor.find('/')); }

bool begins_with_one_of(const std::string& name, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](const auto& text) { return name.starts_with(text); });
}

/// The shards to be read: those that the checkpoint has, or must have.
std::vector<NamedShard> wanted_shards(const CheckpointReader& reader, std::span<const NamedShard> shards,
                                      const LoadOptions& options) {
  std::vector<NamedShard> wanted;
  for (const NamedShard& shard : shards)
    if (reader.tensors().contains(shard.spec.name) || !begins_with_one_of(shard.spec.name, options.may_lack))
      wanted.push_back(shard);
  return wanted;
}

/// A checkpoint of a model with more layers has every tensor that a smaller one asks for, in the right shape; what
/// nobody asks for gives it away. Collective.
void check_all_wanted(const CheckpointReader& reader, HostGroup& ranks, std::span<const NamedShard> shards,
                      const LoadOptions& options) {
  std::set<std::string> names, kinds;
  for (const NamedShard& shard : shards) {
    names.insert(shard.spec.name);
    kinds.insert(kind_of(shard.spec.name));
  }
  // One character a tensor of the manifest, whose order is the same everywhere: w wanted here, k only its kind.
  std::string marks, listed;
  for (const auto& [name, tensor] : reader.tensors()) listed += name + "\n";
  ranks.check_same("the manifest of checkpoint " + reader.folder().string(), stable_hash(listed));
  for (const auto& [name, tensor] : reader.tensors())
    marks += names.contains(name) || begins_with_one_of(name, options.may_hold) ? 'w'
             : kinds.contains(kind_of(name))                                    ? 'k'
                                                                                : '.';
  for (const std::string& other : ranks.all_gather(marks))
    for (std::size_t i = 0; i < marks.size(); ++i)
      if (marks[i] != 'w' && other[i] != '.') marks[i] = other[i];
  std::size_t i = 0, num_unused = 0;
  std::string first;
  for (const auto& [name, tensor] : reader.tensors()) {
    if (marks[i++] != 'k') continue;
    if (num_unused++ == 0) first = name + " " + tensor.global.to_string();
  }
  if (num_unused > 0)
    throw ConfigError("checkpoint " + reader.folder().string() + ": it holds " + std::to_string(num_unused) +
                      " tensors that this run does not have, the first is " + first +
                      "; it was written by another model. Use the configuration it was trained with (the text /config "
                      "in its index.h5)");
}

}  // namespace

RunState load_checkpoint(const std::filesystem::path& checkpoint, HostGroup& ranks, std::span<const NamedShard> shards,
                         Backend& ops, Stream& stream, const LoadOptions& options) {
  std::optional<CheckpointReader> reader;
  std::vector<NamedShard> wanted;
  attempt_together(ranks, [&] {
    reader.emplace(checkpoint);
    wanted = wanted_shards(*reader, shards, options);
    reader->check_tensors(wanted, options);
  }).raise();
  if (!options.allow_unused) check_all_wanted(*reader, ranks, shards, options);
  attempt_together(ranks, [&] { reader->load(wanted, ops, stream, options); }).raise();
  return reader->manifest().state;
}

std::optional<RunState> load_newest_checkpoint(const std::filesystem::path& folder, HostGroup& ranks,
                                               std::span<const NamedShard> shards, Backend& ops, Stream& stream,
                                               const LoadOptions& options) {
  // Rank 0's view of the folder decides: a shared file system may show others an older one.
  std::string names;
  if (ranks.rank() == 0)
    for (const auto& path : checkpoint_folder::finished(folder)) names = path.filename().string() + "\n" + names;
  std::istringstream newest_first(ranks.broadcast(names, 0));
  std::string reasons;
  for (std::string name; std::getline(newest_first, name);) try {
      return load_checkpoint(folder / name, ranks, shards, ops, stream, options);
    } catch (const DataError& error) {
      if (ranks.rank() == 0)
        spdlog::warn("checkpoint {} is skipped, the one before it is tried: {}", name, error.what());
      reasons += "\n  " + name + ": " + error.what();
    }
  if (reasons.empty()) return std::nullopt;
  throw DataError("none of the checkpoints in " + folder.string() + " is whole:" + reasons +
                  "\nMove the folder away to start from nothing, or restore a checkpoint");
}

}  // namespace athanor
