#include "io/checkpoint/checkpoint_reader.hpp"

#include "io/checkpoint/shard_file.hpp"
#include "src/base/error.hpp"

namespace athanor {
namespace {

double load_element(const std::byte* data, DType dtype, std::size_t i) {
  if (dtype == DType::f64) return reinterpret_cast<const double*>(data)[i];
  if (dtype == DType::f32) return static_cast<double>(reinterpret_cast<const float*>(data)[i]);
  return static_cast<double>(static_cast<float>(reinterpret_cast<const bf16*>(data)[i]));
}
void store_element(std::byte* data, DType dtype, std::size_t i, double value) {
  if (dtype == DType::f64)
    reinterpret_cast<double*>(data)[i] = value;
  else if (dtype == DType::f32)
    reinterpret_cast<float*>(data)[i] = static_cast<float>(value);
  else
    reinterpret_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
}

/// Host numbers from one floating type to another.
std::vector<std::byte> converted(const std::vector<std::byte>& from, DType from_type, DType to_type) {
  const std::size_t count = from.size() / size_bytes(from_type);
  std::vector<std::byte> to(count * size_bytes(to_type));
  for (std::size_t i = 0; i < count; ++i) store_element(to.data(), to_type, i, load_element(from.data(), from_type, i));
  return to;
}

std::string describe(DType dtype, const Shape& shape) { return std::string(to_string(dtype)) + shape.to_string(); }

}  // namespace

CheckpointReader::CheckpointReader(std::filesystem::path folder)
    : folder_(std::move(folder)), manifest_(read_index(folder_ / "index.h5")), tensors_(tensors_of(manifest_)) {
  for (const ManifestFile& file : manifest_.files) {
    const auto path = folder_ / file.name;
    std::error_code missing;
    const auto size = std::filesystem::file_size(path, missing);
    if (missing) throw DataError("checkpoint: " + path.string() + " is missing (" + missing.message() + ")");
    if (static_cast<std::int64_t>(size) != file.size)
      throw DataError("checkpoint: " + path.string() + " has " + std::to_string(size) + " bytes, the manifest says " +
                      std::to_string(file.size));
  }
}

void CheckpointReader::check_tensors(std::span<const NamedShard> shards, const LoadOptions& options) const {
  for (const NamedShard& shard : shards) {
    const ShardSpec& wanted = shard.spec;
    if (wanted.global.numel() == 0) continue;
    const auto refuse = [&](const std::string& what) {
      throw ConfigError("checkpoint " + folder_.string() + ": tensor " + wanted.name + " " + what);
    };
    const auto found = tensors_.find(wanted.name);
    if (found == tensors_.end())
      refuse(describe(wanted.dtype, wanted.global) +
             " is not in it; it was written by another model, or by a run without this state");
    const StoredTensor& stored = found->second;
    if (!(stored.global == wanted.global))
      refuse("has shape " + stored.global.to_string() + ", the model wants " + wanted.global.to_string() +
             "; use the configuration it was trained with (the text /config in its index.h5)");
    const bool convertible = options.convert_floats && is_floating(stored.dtype) && is_floating(wanted.dtype);
    if (stored.dtype != wanted.dtype && !convertible)
      refuse("is " + std::string(to_string(stored.dtype)) + ", the run wants " + std::string(to_string(wanted.dtype)) +
             "; set run.dtype as when it was written");
  }
}

void CheckpointReader::load(std::span<const NamedShard> shards, Backend& ops, Stream& stream,
                            const LoadOptions& options) const {
  std::vector<std::byte> piece_bytes, local;
  for (const NamedShard& shard : shards) {
    const ShardSpec& wanted = shard.spec;
    if (wanted.extent.numel() == 0) continue;
    if (shard.local.numel() != wanted.extent.numel() || shard.local.dtype() != wanted.dtype)
      throw Error("loading " + wanted.name + ": the part " + describe(wanted.dtype, wanted.extent) +
                  " does not fit into the tensor " + shard.local.to_string());
    local.resize(shard.local.bytes());
    std::int64_t covered = 0;
    for (const auto& [file, piece] : tensors_.at(wanted.name).pieces) {
      const auto common = intersect(wanted.box(), piece->spec.box());
      if (!common) continue;
      covered += common->extent.numel();
      piece_bytes.resize(piece->bytes());
      read_piece(folder_ / file->name, *piece, piece_bytes);
      if (piece->spec.dtype != wanted.dtype && options.convert_floats)
        piece_bytes = converted(piece_bytes, piece->spec.dtype, wanted.dtype);
      copy_box(*common, piece->spec.box(), piece_bytes.data(), wanted.box(), local.data(), size_bytes(wanted.dtype));
    }
    if (covered != wanted.extent.numel())
      throw DataError("checkpoint: " + folder_.string() + " holds " + std::to_string(covered) + " of the " +
                      std::to_string(wanted.extent.numel()) + " elements wanted of tensor " + wanted.name);
    ops.upload(shard.local, local, stream);
  }
  stream.synchronize();
}

std::vector<std::string> CheckpointReader::verify_all() const {
  std::vector<std::string> bad;
  std::vector<std::byte> bytes;
  for (const ManifestFile& file : manifest_.files)
    for (const ManifestPiece& piece : file.pieces) try {
        bytes.resize(piece.bytes());
        read_piece(folder_ / file.name, piece, bytes);
      } catch (const DataError& error) {
        bad.emplace_back(error.what());
      }
  return bad;
}

}  // namespace athanor
