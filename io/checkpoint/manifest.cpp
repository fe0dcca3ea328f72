#include "io/checkpoint/manifest.hpp"

#include <nlohmann/json.hpp>

#include "io/checkpoint/durable.hpp"
#include "io/hdf5/file.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

using nlohmann::json;

constexpr std::int64_t kFormatVersion = 1;

json to_json_array(const Shape& shape) {
  json array = json::array();
  for (int d = 0; d < shape.ndim(); ++d) array.push_back(shape[d]);
  return array;
}

Shape to_shape(const json& array) {
  Shape shape;
  for (const auto& dim : array) shape.push_back(dim.get<std::int64_t>());
  return shape;
}

json to_json_value(const ManifestFile& file) {
  json pieces = json::array();
  for (const ManifestPiece& piece : file.pieces)
    pieces.push_back({{"tensor", piece.spec.name},
                      {"dtype", std::string(to_string(piece.spec.dtype))},
                      {"global", to_json_array(piece.spec.global)},
                      {"offset", to_json_array(piece.spec.offset)},
                      {"extent", to_json_array(piece.spec.extent)},
                      {"dataset", piece.dataset},
                      {"file_offset", piece.file_offset},
                      {"xxh3_128", piece.checksum}});
  return {{"file", file.name}, {"size", file.size}, {"pieces", pieces}};
}

ManifestFile file_from_value(const json& value) {
  ManifestFile file{value.at("file").get<std::string>(), value.at("size").get<std::int64_t>(), {}};
  for (const json& piece : value.at("pieces"))
    file.pieces.push_back(
        {{piece.at("tensor").get<std::string>(), dtype_from_string(piece.at("dtype").get<std::string>()),
          to_shape(piece.at("global")), to_shape(piece.at("offset")), to_shape(piece.at("extent"))},
         piece.at("dataset").get<std::string>(),
         piece.at("file_offset").get<std::int64_t>(),
         piece.at("xxh3_128").get<std::string>()});
  return file;
}

}  // namespace

std::string to_json(const ManifestFile& file) { return to_json_value(file).dump(); }

ManifestFile file_from_json(std::string_view text) {
  try {
    return file_from_value(json::parse(text));
  } catch (const json::exception& error) {
    throw DataError(std::string("checkpoint: a manifest entry cannot be read: ") + error.what());
  }
}

void write_index(const std::filesystem::path& path, const Manifest& manifest) {
  auto file = hdf5::File::create(path);
  const RunState& state = manifest.state;
  file.write_attribute("/", "athanor_checkpoint", kFormatVersion);
  file.write_attribute("/", "stage", state.stage);
  file.write_attribute("/", "step", state.step);
  file.write_attribute("/", "tokens", state.tokens);
  json values = json::object();
  for (const auto& [key, value] : state.values) values[key] = value;
  file.write_text("/run_state", json{{"stage", state.stage},
                                     {"step", state.step},
                                     {"tokens", state.tokens},
                                     {"seed", state.seed},
                                     {"values", values}}
                                    .dump());
  file.write_text("/config", state.config_text);
  file.write_text("/layout", state.layout_text);
  json files = json::array();
  for (const ManifestFile& entry : manifest.files) files.push_back(to_json_value(entry));
  file.write_text("/manifest", files.dump());

  struct Whole {
    DType dtype;
    Shape global;
    std::vector<hdf5::VirtualPiece> pieces;
  };
  std::map<std::string, Whole> tensors;
  for (const ManifestFile& entry : manifest.files)
    for (const ManifestPiece& piece : entry.pieces) {
      Whole& tensor =
          tensors.try_emplace(piece.spec.name, Whole{piece.spec.dtype, piece.spec.global, {}}).first->second;
      tensor.pieces.push_back({entry.name, piece.dataset, piece.spec.box()});
    }
  for (const auto& [name, tensor] : tensors)
    file.create_virtual("/" + name, tensor.dtype, tensor.global, tensor.pieces);
  file.close();
  sync_file(path);
}

Manifest read_index(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path))
    throw DataError("checkpoint: " + path.string() + " is missing; a checkpoint folder holds index.h5 and shard_*.h5");
  try {
    const auto file = hdf5::File::open_read_only(path);
    if (const auto version = file.read_integer_attribute("/", "athanor_checkpoint"); version != kFormatVersion)
      throw DataError("checkpoint: " + path.string() + " has format " + std::to_string(version) +
                      ", this program reads " + std::to_string(kFormatVersion));
    Manifest manifest;
    const json state = json::parse(file.read_text("/run_state"));
    manifest.state.stage = state.at("stage").get<std::string>();
    manifest.state.step = state.at("step").get<std::int64_t>();
    manifest.state.tokens = state.at("tokens").get<std::int64_t>();
    manifest.state.seed = state.at("seed").get<std::uint64_t>();
    manifest.state.values = state.at("values").get<std::map<std::string, std::string>>();
    manifest.state.config_text = file.read_text("/config");
    manifest.state.layout_text = file.read_text("/layout");
    for (const json& entry : json::parse(file.read_text("/manifest"))) manifest.files.push_back(file_from_value(entry));
    return manifest;
  } catch (const json::exception& error) {
    throw DataError("checkpoint: " + path.string() + " is damaged: " + error.what());
  }
}

}  // namespace athanor
