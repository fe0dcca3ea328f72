#include "io/checkpoint/manifest.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/checkpoint/checksum.hpp"
#include "io/checkpoint/raw_file.hpp"
#include "io/hdf5/file.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

using nlohmann::json;

constexpr std::int64_t kFormatVersion = 1;
/// The user block begins with this text and the checksum of everything after the block; the rest of it is zeros.
constexpr std::size_t kSealBytes = 512;
constexpr std::string_view kSealTitle = "athanor checkpoint index. XXH3-128 of all bytes from byte 512 on: ";

std::string checksum_after_seal(const RawFile& file) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()) - kSealBytes);
  file.read_at(bytes, kSealBytes);
  return checksum_of(bytes);
}

void seal(const std::filesystem::path& path) {
  auto file = RawFile::open_read_write(path);
  const std::string text = std::string(kSealTitle) + checksum_after_seal(file) + "\n";
  file.write_at(std::as_bytes(std::span(text)), 0);
  file.sync();
}

void check_seal(const std::filesystem::path& path) {
  const auto file = RawFile::open_read_only(path);
  if (file.size() < static_cast<std::int64_t>(kSealBytes))
    throw DataError("checkpoint: " + path.string() + " is truncated: it has " + std::to_string(file.size()) + " bytes");
  std::string text(kSealBytes, '\0');
  file.read_at(std::as_writable_bytes(std::span(text)), 0);
  if (!text.starts_with(kSealTitle)) throw DataError("checkpoint: " + path.string() + " is damaged: it has no seal");
  const std::string said = text.substr(kSealTitle.size(), 32), found = checksum_after_seal(file);
  if (found != said)
    throw DataError("checkpoint: " + path.string() + " is damaged: its bytes have checksum " + found +
                    ", its seal says " + said);
}

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

namespace {
/// Disjoint pieces with as many elements as the tensor hold each element once.
void check_cover(const std::string& name, StoredTensor tensor) {
  std::int64_t elements = 0;
  for (const auto& [file, piece] : tensor.pieces) elements += piece->spec.extent.numel();
  if (elements != tensor.global.numel())
    throw DataError("checkpoint: the pieces of tensor " + name + " " + tensor.global.to_string() + " have " +
                    std::to_string(elements) + " elements, not " + std::to_string(tensor.global.numel()) +
                    "; each element has to have exactly one writer");
  // Sorted by first row, a piece can only meet those that begin before its rows end.
  if (tensor.global.ndim() == 0) return;
  const auto first_row = [](const auto& entry) { return entry.second->spec.offset[0]; };
  std::sort(tensor.pieces.begin(), tensor.pieces.end(),
            [&](const auto& a, const auto& b) { return first_row(a) < first_row(b); });
  for (auto a = tensor.pieces.begin(); a != tensor.pieces.end(); ++a) {
    const ShardSpec& spec = a->second->spec;
    for (auto b = a + 1; b != tensor.pieces.end() && first_row(*b) < spec.offset[0] + spec.extent[0]; ++b)
      if (const auto common = intersect(spec.box(), b->second->spec.box()))
        throw DataError("checkpoint: elements of tensor " + name + " from " + common->offset.to_string() + " on, " +
                        common->extent.to_string() + " of them, are in " + a->first->name + " and in " +
                        b->first->name + "; each element has to have exactly one writer");
  }
}
}  // namespace

std::map<std::string, StoredTensor> tensors_of(const Manifest& manifest) {
  std::map<std::string, StoredTensor> tensors;
  for (const ManifestFile& file : manifest.files)
    for (const ManifestPiece& piece : file.pieces) {
      const ShardSpec& spec = piece.spec;
      StoredTensor& tensor = tensors.try_emplace(spec.name, StoredTensor{spec.dtype, spec.global, {}}).first->second;
      if (tensor.dtype != spec.dtype || !(tensor.global == spec.global))
        throw DataError("checkpoint: " + file.name + " holds a piece of " + spec.name + " as " +
                        std::string(to_string(spec.dtype)) + spec.global.to_string() + ", others as " +
                        std::string(to_string(tensor.dtype)) + tensor.global.to_string());
      tensor.pieces.emplace_back(&file, &piece);
    }
  for (const auto& [name, tensor] : tensors) check_cover(name, tensor);
  return tensors;
}

void write_index(const std::filesystem::path& path, const Manifest& manifest) {
  auto file = hdf5::File::create(path, kSealBytes);
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

  for (const auto& [name, tensor] : tensors_of(manifest)) {
    std::vector<hdf5::VirtualPiece> places;
    for (const auto& [shard, piece] : tensor.pieces) places.push_back({shard->name, piece->dataset, piece->spec.box()});
    file.create_virtual("/" + name, tensor.dtype, tensor.global, places);
  }
  file.close();
  seal(path);
}

Manifest read_index(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path))
    throw DataError("checkpoint: " + path.string() + " is missing; a checkpoint folder holds index.h5 and shard_*.h5");
  check_seal(path);
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
